"""Reads what `keyed_shards` describes, piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from magneton_tasks.base.failures import telling
from magneton_tasks.base.files import open_read
from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.inflating import decompress
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.keyed_shards import Ids, KeyedSharding
from magneton_tasks.formats.precomputed.minishard import Index

#: gzip makes at most so many bytes of one.
_GZIP_MOST = 1032


@dataclass(frozen=True)
class ShardReader:
    """Reads a shard file in pieces, each index once.

    Attributes
    ----------
    read_bytes
        The bytes of the file from one place to another; fewer where it ends before.
    name
        What errors call the file.
    """

    sharding: KeyedSharding
    read_bytes: Callable[[int, int], bytes]
    name: str
    _indices: dict[int, Index] = field(default_factory=dict, repr=False)

    @classmethod
    def of_file(cls, path: Path, sharding: KeyedSharding) -> ShardReader:
        """Of a file that is opened for each piece."""
        return cls(sharding, lambda begin, end: _bytes_of(path, begin, end), str(path))

    @classmethod
    def of_objects(cls, objects: Objects, name: str, sharding: KeyedSharding) -> ShardReader:
        """Of a file of a volume, on file:// or in a bucket."""
        if objects.is_local:
            return cls.of_file(objects.path(name), sharding)
        return cls(
            sharding,
            lambda begin, end: objects.get_part(name, begin, end),
            objects.location.name_of(name),
        )

    def index(self, minishard: int) -> Index:
        """Of a minishard.

        Raises
        ------
        BadDataError
            The file is cut off, or damaged.
        NoInputError
            It isn't there.
        """
        if minishard not in self._indices:
            with telling(f"{self.name} can't be read"):
                self._indices[minishard] = self._read_index(minishard)
        return self._indices[minishard]

    def _read_index(self, minishard: int) -> Index:
        head = 16 * self.sharding.minishards
        begin, end = np.frombuffer(self.read_at(16 * minishard, 16), "<u8").tolist()
        if end < begin:
            raise BadDataError(f"the index of minishard {minishard} ends before it begins")
        data = self.read_at(head + begin, end - begin)
        if data:
            data = _inflated(data, self.sharding.index_encoding)
        if len(data) % 24:
            raise BadDataError(f"the index of minishard {minishard} has {len(data)} bytes")
        return Index.decoded(data, head)

    def ids(self) -> Ids:
        """All keys of the file, uint64 (n,), by minishard."""
        return np.concatenate([self.index(m).ids for m in range(self.sharding.minishards)])

    def find(self, key: int) -> tuple[int, int] | None:
        """Begin and size of a value, as it is stored; None: the file doesn't hold it."""
        minishard = int(self.sharding.place(np.array([key], np.uint64))[1][0])
        return self.index(minishard).find(key)

    def read(self, key: int) -> bytes | None:
        """A value; None: the file doesn't hold it. Raises as `index` does."""
        found = self.find(key)
        if found is None:
            return None
        data = self.read_at(*found)
        with telling(f"{self.name}: {key} can't be read"):
            return _inflated(data, self.sharding.data_encoding)

    def read_at(self, begin: int, size: int) -> bytes:
        """Bytes of the file, as they are. Raises as `index` does."""
        data = self.read_bytes(begin, begin + size) if size else b""
        if len(data) != size:
            raise BadDataError(
                f"{self.name} is cut off, or its index is damaged: {len(data)} of {size} bytes"
            )
        return data


def _bytes_of(path: Path, begin: int, end: int) -> bytes:
    with telling(f"{path} can't be read"):
        try:
            with open_read(path) as file:
                size = file.seek(0, 2)  # a damaged index may ask for more memory than there is
                file.seek(min(begin, size))
                return file.read(max(min(end, size) - begin, 0))
        except FileNotFoundError as error:
            raise NoInputError(f"{path} isn't there") from error


def _inflated(data: bytes, encoding: str) -> bytes:
    return decompress(data, "inside.gz", _GZIP_MOST * len(data)) if encoding == "gzip" else data
