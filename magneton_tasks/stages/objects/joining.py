"""Joins the pieces of a shard's objects, one object after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box
from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.precomputed.chunks import compress
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding, ShardWriter, Sink
from magneton_tasks.stages.objects.maker import Joined, Maker
from magneton_tasks.stages.objects.previous import Previous
from magneton_tasks.work.pieces import PieceFile
from magneton_tasks.work.shard_objects import MOST_FIGURES, ShardObjects


@dataclass(frozen=True, slots=True)
class Source:
    """What a cell sent; ``box``: of the cell, in voxels of the mip."""

    file: PieceFile
    box: Box


@dataclass(frozen=True, slots=True)
class _Stored:
    """A `maker.StoredPiece`."""

    source: Source
    begin: int
    size: int
    digest: int

    @property
    def box(self) -> Box:
        return self.source.box

    def read(self) -> bytes:
        return self.source.file.read(self.begin, self.size, self.digest)


@dataclass(frozen=True, slots=True)
class Written:
    """What a shard holds."""

    objects: ShardObjects
    figures: dict[str, int]
    copied: int


@dataclass(frozen=True)
class Joining:
    """All pieces of a shard, sorted by object and cell.

    Attributes
    ----------
    dust, made
        Objects that are left out, and that aren't; and their voxels.
    voxels, pieces
        Of all that were read.
    ids, begins
        Of the objects that are made, and their first rows; ``ends``: rows after the last.
    rows
        int64 or uint64 (n,) each: source, begin, size and digest of each piece.
    """

    sources: list[Source]
    dust: list[int]
    made: list[int]
    voxels: int
    pieces: int
    ids: NDArray[np.uint64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    rows: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]

    @classmethod
    def of(cls, sources: list[Source], least: float) -> Joining:
        """Read the tables of all sources; objects of fewer voxels than ``least`` are dust."""
        nothing = np.zeros(0, np.uint64)
        parts = [(nothing,) * 5]
        for source in sources:
            table, begins, sizes = source.file.table()
            parts.append((table.id, table.voxels, begins, sizes, table.digest))
        ids, voxels, begins, sizes, digests = map(np.concatenate, zip(*parts, strict=True))
        number = np.repeat(np.arange(len(sources)), [part[0].size for part in parts[1:]])
        order = np.lexsort((number, ids))
        ids, voxels = ids[order], voxels[order].astype(np.int64)
        first = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: ids.size])
        end = np.append(first[1:], ids.size)[: first.size]
        of_each = np.add.reduceat(voxels, first) if first.size else voxels
        has_data = np.add.reduceat(sizes[order], first) > 0 if first.size else first > 0
        made = (of_each >= least) & has_data
        dust, of_made = (
            [int(np.count_nonzero(which)), int(of_each[which].sum())] for which in (~made, made)
        )
        rows = (number[order], begins[order], sizes[order], digests[order])
        kept = first[made], end[made]
        return cls(
            sources, dust, of_made, int(voxels.sum()), ids.size, ids[first[made]], *kept, rows
        )

    @property
    def objects(self) -> int:
        """How many are made."""
        return self.ids.size

    def write(
        self, file: Sink, sharding: KeyedSharding, maker: Maker, previous: Previous
    ) -> Written:
        """Write all objects into a shard file.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        NotVisibleError, CorruptFileError
            A cell's file is gone or damaged; the cell is invalidated.
        """
        # values are compressed here: those that are taken over are so already
        plain = KeyedSharding(sharding.shard_bits, sharding.minishard_bits)
        writer, figures, digests = ShardWriter(file, plain), list[list[int]](), list[int]()
        names, copied = previous.names, 0
        for at, one in enumerate(self.ids.tolist()):
            pieces = list(self._pieces(at))
            digest = _digest(pieces)
            kept = previous.get(one, digest)
            if kept is not None:
                writer.add(one, partial(previous.value, kept), previous.before(kept))
                counted, copied = dict(zip(names, kept.figures, strict=False)), copied + 1
            else:
                run = _Run(maker.join(one, [p for p in pieces if p.size]), sharding.data_encoding)
                writer.add(one, run.value, run.before())
                counted = dict(run.joined.figures)
            names = sorted(counted)
            figures.append([*(counted[n] for n in names), *[0] * MOST_FIGURES][:MOST_FIGURES])
            digests.append(digest)
        return self._written(writer, figures, digests, names, copied)

    def _written(
        self,
        writer: ShardWriter,
        figures: list[list[int]],
        digests: list[int],
        names: list[str],
        copied: int,
    ) -> Written:
        lies = writer.finish()
        if not np.array_equal(lies.ids, self.ids):
            raise MagnetonError("a shard doesn't hold the objects that it was to hold")
        counted = np.array(figures, np.int64).reshape(-1, MOST_FIGURES)
        objects = ShardObjects(
            self.ids,
            np.array(digests, np.uint64),
            (lies.begins - lies.before).astype(np.int64),
            lies.before.astype(np.int64),
            lies.sizes.astype(np.int64),
            *np.ascontiguousarray(counted.T),
        )
        totals = dict(zip(names, counted.sum(0).tolist(), strict=False))
        return Written(objects, totals, copied)

    def _pieces(self, at: int) -> Iterator[_Stored]:
        rows = slice(int(self.begins[at]), int(self.ends[at]))
        number, begin, size, digest = (column[rows].tolist() for column in self.rows)
        for n, *place in zip(number, begin, size, digest, strict=True):
            yield _Stored(self.sources[n], *place)


def _digest(pieces: list[_Stored]) -> int:
    """Of the pieces that an object is joined of: where each lies in space, and what it is."""
    told = repr([(str(p.box), p.digest) for p in pieces]).encode()
    return int.from_bytes(blake2b(told, digest_size=8).digest(), "little")


class _Run:
    """An object that is being joined: what stands before its value, then the value."""

    def __init__(self, made: Generator[bytes, None, Joined], encoding: str) -> None:
        self._made, self._encoding = made, encoding
        self.joined = Joined(b"")

    def before(self) -> Iterator[bytes]:
        self.joined = yield from self._made

    def value(self) -> bytes:
        return compress(self.joined.value, "gzip" if self._encoding == "gzip" else None)
