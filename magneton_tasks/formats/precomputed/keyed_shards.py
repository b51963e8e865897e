"""Shard files whose values have keys, such as the meshes of objects: where each lies, and their bytes.

A key's hash says in which shard it is, and in which minishard of that::

    2**m x 16 bytes     begin and end of each minishard's index, counted from here on
    values              one after the other, perhaps each with bytes of its own before it
    indices             uint64 (3, n) each: keys as differences, gaps before values, sizes

What stands before a value is in no index: a gap. A value says itself how many bytes it has there, as the
manifest of a mesh does. Chunks of volumes have shards of another kind (`sharding`, `shards`).

The format: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.precomputed.chunks import compress
from magneton_tasks.formats.precomputed.murmur import murmur
from magneton_tasks.formats.precomputed.sharding import SHARD_SUFFIX

Ids = NDArray[np.uint64]

_TYPE = "neuroglancer_uint64_sharded_v1"
_MURMUR = "murmurhash3_x86_128"
#: In place of a minishard's number: all hashes are worked at once.
_BY_HASH = 2**64 - 1


@dataclass(frozen=True)
class KeyedSharding:
    """How values lie in shards, by a hash of their keys.

    Attributes
    ----------
    shard_bits, minishard_bits, preshift_bits
        Of a key's hash, from the lowest up: minishard, then shard. The hash is that of the key
        without its lowest ``preshift_bits``.
    hash
        ``murmurhash3_x86_128`` | ``identity``.
    data_encoding, index_encoding
        Of each value (never of what stands before it), of each minishard's index: ``gzip`` | ``raw``.
    """

    shard_bits: int
    minishard_bits: int
    preshift_bits: int = 0
    hash: str = _MURMUR
    data_encoding: str = "raw"
    index_encoding: str = "gzip"

    @classmethod
    def from_info(cls, data: Mapping[str, Any]) -> KeyedSharding:
        """What an ``info`` says under ``sharding``.

        Raises
        ------
        BadDataError
            It isn't of this format.
        """
        encodings = data.get("data_encoding", "raw"), data.get("minishard_index_encoding", "raw")
        if data.get("hash") not in (_MURMUR, "identity") or not {*encodings} <= {"raw", "gzip"}:
            raise BadDataError(f"sharding {dict(data)}: a hash or an encoding that isn't known")
        try:
            keys = ("shard_bits", "minishard_bits", "preshift_bits")
            shard, minishard, preshift = (int(data[key]) for key in keys)
        except (KeyError, TypeError, ValueError) as error:
            raise BadDataError(f"sharding {dict(data)}: {error} isn't a number of bits") from error
        if min(shard, minishard, preshift) < 0 or max(shard + minishard, preshift) > 63:
            raise BadDataError(f"sharding {dict(data)}: more bits than a key has")
        return cls(shard, minishard, preshift, data["hash"], *map(str, encodings))

    def to_info(self) -> dict[str, Any]:
        """For an ``info``, under ``sharding``."""
        return {
            "@type": _TYPE,
            "preshift_bits": self.preshift_bits,
            "hash": self.hash,
            "minishard_bits": self.minishard_bits,
            "shard_bits": self.shard_bits,
            "minishard_index_encoding": self.index_encoding,
            "data_encoding": self.data_encoding,
        }

    @property
    def shards(self) -> int:
        """How many there can be."""
        return 1 << self.shard_bits

    @property
    def minishards(self) -> int:
        """Of one shard."""
        return 1 << self.minishard_bits

    def place(self, ids: Ids) -> tuple[Ids, Ids]:
        """Shard and minishard of each key, uint64 (n,)."""
        kept = np.asarray(ids, np.uint64) >> np.uint64(self.preshift_bits)
        hashed = kept if self.hash == "identity" else murmur(kept)
        shard = hashed >> np.uint64(self.minishard_bits)
        return shard & np.uint64(self.shards - 1), hashed & np.uint64(self.minishards - 1)

    def file_name(self, shard: int) -> str:
        """Of a shard, by its number."""
        return f"{shard:0{max(ceil_div(self.shard_bits, 4), 1)}x}{SHARD_SUFFIX}"


class Sink(Protocol):
    """Where a shard file's bytes go: `base.files.NewFile`, `InMemory`."""

    def write(self, piece: bytes, /) -> None:
        """Append."""

    def rewrite_start(self, head: bytes, /) -> None:
        """Put other bytes in place of as many first ones."""


class InMemory:
    """A shard file that is made in memory."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, piece: bytes) -> None:
        self._data += piece

    def rewrite_start(self, head: bytes) -> None:
        self._data[: len(head)] = head

    def __bytes__(self) -> bytes:
        return bytes(self._data)


@dataclass(frozen=True)
class Written:
    """Where values lie in a file, in the order in which they were added: uint64 (n,) each.

    Attributes
    ----------
    ids
        Their keys.
    begins, sizes
        Of the values, in bytes; what stands before a value ends where it begins.
    before
        How many bytes stand before each.
    """

    ids: Ids
    begins: Ids
    sizes: Ids
    before: Ids


class ShardWriter:
    """Writes one shard file, value after value; holds 40 bytes of each, and nothing of its own."""

    def __init__(self, file: Sink, sharding: KeyedSharding) -> None:
        self._file = file
        self._sharding = sharding
        self._head = 16 * sharding.minishards
        self._end = self._head
        self._rows: list[tuple[int, int, int, int, int]] = []  # minishard, and as `Written`
        file.write(bytes(self._head))

    def add(
        self,
        key: int,
        value: bytes | Callable[[], bytes],
        before: Iterable[bytes] = (),
        minishard: int | None = None,
    ) -> None:
        """Append a value. The keys of a minishard ascend.

        Parameters
        ----------
        value
            The value, or what makes it, called once all before it has been written.
        before
            Pieces of what stands before the value.
        minishard
            None: by the key's hash. A file that isn't read by its keys may have its own order.
        """
        begin = self._end
        for piece in before:
            self._append(piece)
        at, value = self._end, value() if callable(value) else value
        self._append(compress(value, _method(self._sharding.data_encoding)))
        chosen = _BY_HASH if minishard is None else minishard
        self._rows.append((chosen, key, at, self._end - at, at - begin))

    def _append(self, piece: bytes) -> None:
        self._file.write(piece)
        self._end += len(piece)

    def finish(self) -> Written:
        """Write the indices; returns where the values lie.

        Raises
        ------
        ValueError
            The keys of a minishard didn't ascend.
        """
        rows = np.array(self._rows, np.uint64).reshape(-1, 5)
        by_hash = rows[:, 0] == np.uint64(_BY_HASH)
        rows[by_hash, 0] = self._sharding.place(rows[by_hash, 1])[1]
        ends = np.zeros((self._sharding.minishards, 2), "<u8")
        order = np.argsort(rows[:, 0], kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(rows[order, 0])) + 1):
            if len(some):
                begin = self._end - self._head
                self._append(self._index(rows[some]))
                ends[rows[some[0], 0]] = begin, self._end - self._head
        self._file.rewrite_start(ends.tobytes())
        return Written(*np.ascontiguousarray(rows.T[1:]))

    def _index(self, rows: NDArray[np.uint64]) -> bytes:
        _, ids, begins, sizes, _ = rows.T
        if (ids[1:] <= ids[:-1]).any():
            raise ValueError("the keys of a minishard don't ascend")
        index = np.empty((3, len(ids)), "<u8")
        index[0] = np.diff(ids, prepend=np.uint64(0))
        index[1] = begins - np.concatenate(([np.uint64(self._head)], (begins + sizes)[:-1]))
        index[2] = sizes
        return compress(index.tobytes(), _method(self._sharding.index_encoding))


def _method(encoding: str) -> str | None:
    return "gzip" if encoding == "gzip" else None
