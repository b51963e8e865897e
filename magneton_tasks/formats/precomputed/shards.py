"""The bytes of shard files: chunks by id, and the index that tells where each lies.

A file of one minishard, as it is written here::

    16 bytes        begin and end of the index below, counted from here on
    chunks          one after the other, by id; compressed each by itself
    index           uint64 (3, n): ids as differences, gaps between chunks (none), sizes

See `sharding` for which chunks a file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.inflating import decompress
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.precomputed.chunks import compress
from magneton_tasks.formats.precomputed.minishard import Index
from magneton_tasks.formats.precomputed.sharding import Sharding

#: No chunk and no index has more bytes: what says so is damage.
_MOST = 1 << 32


def pieces(chunks: Mapping[int, bytes], sharding: Sharding) -> list[bytes]:
    """A shard file's bytes, in pieces.

    Parameters
    ----------
    chunks
        The bytes of each chunk by its id, compressed.
    sharding
        Of one minishard a shard.
    """
    ids = sorted(chunks)
    rows = np.zeros((3, len(ids)), "<u8")
    rows[0] = np.diff(np.array(ids, "<u8"), prepend=np.uint64(0))
    rows[2] = [len(chunks[i]) for i in ids]
    index = compress(rows.tobytes(), "gzip" if sharding.index_encoding == "gzip" else None)
    begin = int(rows[2].sum())
    header = np.array([begin, begin + len(index)], "<u8").tobytes()
    return [header, *(chunks[i] for i in ids), index]


@dataclass(frozen=True)
class ShardedChunks:
    """Chunks of a sharded scale on file://, by its indices, which are read once.

    Attributes
    ----------
    directory
        Of the scale.
    """

    info: VolumeInfo
    sharding: Sharding
    directory: Path
    _indices: dict[tuple[str, int], Index] = field(default_factory=dict, repr=False)

    def load(self, chunk: Box, most: int) -> tuple[bytes | None, Path]:
        """A chunk of ``most`` bytes, inflated, and the file that holds it, or would.

        Raises
        ------
        BadDataError
            The file is cut off or damaged.
        """
        corner = zip(chunk.begin, self.info.box.begin, self.info.chunk_size, strict=True)
        chunk_id = self.sharding.chunk_id(vec3((c - b) // s for c, b, s in corner))
        name, minishard = self.sharding.place(chunk_id)
        path = self.directory / name
        with telling(f"{path} can't be read"):
            try:
                with open(path, "rb") as file:
                    index = self._indices.get((name, minishard))
                    if index is None:
                        index = self._indices[name, minishard] = self._index(file, minishard)
                    found = index.find(chunk_id)
                    if found is None:
                        return None, path
                    begin, size = found
                    file.seek(begin)
                    data = _exactly(file, size)
            except FileNotFoundError:
                return None, path
        return _inflated(data, self.sharding.data_encoding, most), path

    def _index(self, file: BinaryIO, minishard: int) -> Index:
        first = 16 << self.sharding.minishard_bits
        file.seek(16 * minishard)
        begin, end = (int(v) for v in np.frombuffer(_exactly(file, 16), "<u8"))
        file.seek(first + begin)
        data = _exactly(file, end - begin)
        if data:
            most = 24 * prod(self.sharding.chunks_per_shard)
            data = _inflated(data, self.sharding.index_encoding, most)
        if len(data) % 24:
            raise BadDataError(f"its index has {len(data)} bytes, which are no whole chunks")
        return Index.decoded(data, first)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size <= _MOST else b""
    if len(data) != size:
        raise BadDataError(f"it is cut off, or its index is damaged: {len(data)} of {size} bytes")
    return data


def _inflated(data: bytes, encoding: str, most: int) -> bytes:
    return decompress(data, "inside.gz" if encoding == "gzip" else "", most)
