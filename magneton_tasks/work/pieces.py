"""What cells leave of objects, piece by piece: one file of each cell, from which shards take their part.

The file is a shard file (`formats.precomputed.keyed_shards`) that has a minishard for each shard of the
output: whoever works a shard reads one index, and then single pieces. Before the pieces of a minishard
stands, under key 0 (which no object has), a table of them: id, voxels and digest. A cell that holds
nothing leaves no file.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import BadDataError, CorruptFileError, NoInputError, NotVisibleError
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding, ShardWriter
from magneton_tasks.plan.stage_table import Section
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record

#: What the file is called in records.
PIECES = "pieces"
_TABLE = 0
UInt64 = NDArray[np.uint64]


class PieceTable(NamedTuple):
    """The pieces of a cell for one shard: uint64 (n,) each, ids ascending."""

    id: UInt64
    voxels: UInt64
    digest: UInt64


def path_of(attempt: Attempt, section: Section, cell: int) -> Path:
    """Of a cell."""
    return attempt.stage_dir(section) / "cells" / f"{cell}.pieces"


def sharding_of(shard_bits: int) -> KeyedSharding:
    """Of a cell's file: a minishard for each of 2**shard_bits shards."""
    return KeyedSharding(0, shard_bits, index_encoding="raw")


def digest_of(data: bytes) -> int:
    """What a piece is known by."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def write(
    path: Path, pieces: Mapping[int, Mapping[int, tuple[int, bytes]]], shard_bits: int
) -> tuple[FileInfo, dict[str, list[int]]]:
    """Write the file of a cell.

    Parameters
    ----------
    pieces
        Of each shard: voxels and data of each piece, by id.

    Returns
    -------
    FileInfo
    dict
        Of each shard, as records have it under ``sent``: pieces, their voxels, and the CRC-32 of the
        table, which has the digests of all.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    sent = {}
    with files.writing(path) as file:
        writer = ShardWriter(file, sharding_of(shard_bits))
        for shard, found in sorted(pieces.items()):
            ids = sorted(found)
            rows = [(i, found[i][0], digest_of(found[i][1])) for i in ids]
            table = np.array(rows, "<u8").T.tobytes()
            writer.add(_TABLE, table, minishard=shard)
            for i in ids:
                writer.add(i, found[i][1], minishard=shard)
            voxels = sum(voxels for _, voxels, _ in rows)
            sent[str(shard)] = [len(ids), voxels, zlib.crc32(table)]
        writer.finish()
    return file.info, sent


@dataclass(frozen=True, slots=True)
class Sent:
    """What a cell sent to a shard, as its record tells."""

    cell: int
    pieces: int
    voxels: int
    crc32: int


def sent_to(shards: Collection[int], cells: Mapping[int, Record]) -> dict[int, list[Sent]]:
    """What cells (ascending) sent to each of some shards, by cell; each record is looked at once."""
    found: dict[int, list[Sent]] = {shard: [] for shard in shards}
    for cell, record in cells.items():
        for shard, told in record.info.get("sent", {}).items():
            if int(shard) in found:
                found[int(shard)].append(Sent(cell, *told))
    return found


class PieceFile:
    """What a cell's file holds for a shard."""

    def __init__(
        self, attempt: Attempt, section: Section, sent: Sent, shard: int, shard_bits: int
    ) -> None:
        self._attempt, self._section, self._sent, self._shard = attempt, section, sent, shard
        self._path = path_of(attempt, section, sent.cell)
        self._reader = ShardReader.of_file(self._path, sharding_of(shard_bits))

    def table(self) -> tuple[PieceTable, UInt64, UInt64]:
        """Its pieces, and where the data of each begin, and how many bytes that are.

        Raises
        ------
        NotVisibleError, CorruptFileError
            It isn't there, or is damaged: the cell is invalidated, so that the rerun makes it again.
        """
        with self._invalidating():
            index = self._reader.index(self._shard)
            if not index.ids.size or index.ids[0] != _TABLE:
                raise CorruptFileError(f"{self._path} has no table for shard {self._shard}")
            data = self._reader.read_at(int(index.begins[0]), int(index.sizes[0]))
            table = PieceTable._make(np.frombuffer(data, "<u8").reshape(3, -1))
            if zlib.crc32(data) != self._sent.crc32 or (table.id != index.ids[1:]).any():
                raise CorruptFileError(f"{self._path}: its table isn't that of its record")
        return table, index.begins[1:], index.sizes[1:]

    def read(self, begin: int, size: int, digest: int) -> bytes:
        """A piece's data. Raises as `table` does."""
        with self._invalidating():
            data = self._reader.read_at(begin, size)
            if digest_of(data) != digest:
                raise CorruptFileError(f"{self._path}: {size} bytes at {begin} are damaged")
        return data

    @contextmanager
    def _invalidating(self) -> Iterator[None]:
        again, cell = "the cell is worked again", self._sent.cell
        with self._attempt.invalidating(self._section, [cell], again, f"cell {cell}"):
            try:
                yield
            except NoInputError as error:
                raise NotVisibleError(error.what) from error
            except CorruptFileError:
                raise
            except BadDataError as error:
                raise CorruptFileError(error.what) from error


def await_pieces(attempt: Attempt, section: Section, cells: Mapping[int, Record]) -> None:
    """Wait until the files of cells are there as recorded.

    Raises
    ------
    NotVisibleError
        Some aren't: these cells are invalidated.
    """
    sizes = {
        path_of(attempt, section, cell): record.files[PIECES].size
        for cell, record in cells.items()
        if PIECES in record.files
    }
    wrong = files.await_files(dict(sizes), attempt.wait_s)
    if wrong:
        missing = {int(path.stem) for path in wrong}
        first = next(iter(wrong))
        with attempt.invalidating(section, missing, "these cells are worked again"):
            raise NotVisibleError(f"{first} isn't there, or isn't as it was written")
