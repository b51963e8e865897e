"""The bytes of one shard of `work.labels`: Zarr v3's sharding, encoded and decoded here.

zarr-python reads and writes the same files, but its import costs more CPU than a small stage works.

::

    chunk | chunk | ... | index: offset and size of each chunk (two uint64, C order) | CRC32C

Each chunk is zstd of its little-endian uint32, with a CRC32C of four bytes. Chunks lie in Morton
order, as zarr-python writes them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from math import prod
from typing import BinaryIO

import google_crc32c
import numpy as np
import numpy.typing as npt
import zstandard

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3

Labels = npt.NDArray[np.uint32]

ZSTD_LEVEL = 1
_CRC_BYTES = 4
#: Of an index entry: offset and size.
_ENTRY = np.dtype("<u8")
_VOXEL = np.dtype("<u4")


def encode(labels: Labels, inner: Vec3) -> bytes:
    """A shard's file.

    Parameters
    ----------
    labels
        The whole shard, zyx.
    inner
        Shape of a chunk; the shard's is a multiple of it.
    """
    counts = _counts(vec3(labels.shape), inner)
    index = np.empty((*counts, 2), _ENTRY)
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    parts, end = [], 0
    for at in _morton_order(counts):
        voxels = np.ascontiguousarray(labels[_chunk(at, inner).slices()], _VOXEL)
        data = _with_crc(compressor.compress(voxels.data))
        index[at] = end, len(data)
        end += len(data)
        parts.append(data)
    return b"".join([*parts, _with_crc(index.tobytes())])


def decode(file: BinaryIO, shard: Vec3, inner: Vec3, box: Box) -> Labels:
    """A part of a shard; only the chunks that it touches are read. Raises as `pieces`."""
    out = np.empty(box.shape, np.uint32)
    for part, voxels in pieces(file, shard, inner, box):
        out[part.slices(box.begin)] = voxels
    return out


def pieces(file: BinaryIO, shard: Vec3, inner: Vec3, box: Box) -> Iterator[tuple[Box, Labels]]:
    """A part of a shard, chunk by chunk: where each lies in the shard, and its labels, read-only.

    Parameters
    ----------
    shard, inner
        Shapes of the shard and of a chunk.
    box
        Inside the shard.

    Raises
    ------
    ValueError, EOFError, zstandard.ZstdError
        The file is truncated or damaged.
    """
    index = _read_index(file, _counts(shard, inner))
    begin = vec3(b // n for b, n in zip(box.begin, inner, strict=True))
    end = vec3(ceil_div(e, n) for e, n in zip(box.end, inner, strict=True))
    for at in np.ndindex(*(e - b for b, e in zip(begin, end, strict=True))):
        place = vec3(b + i for b, i in zip(begin, at, strict=True))
        chunk = _chunk(place, inner)
        part = chunk.intersection(box)
        offset, size = map(int, index[place])
        voxels = _voxels(_without_crc(_read(file, offset, size)), inner)
        yield part, voxels[part.slices(chunk.begin)]


def _counts(shard: Vec3, inner: Vec3) -> Vec3:
    """Chunks along each axis."""
    return vec3(s // i for s, i in zip(shard, inner, strict=True))


def _chunk(at: Vec3, inner: Vec3) -> Box:
    return Box.of_shape(inner, vec3(k * n for k, n in zip(at, inner, strict=True)))


def _morton_order(counts: Vec3) -> Iterator[Vec3]:
    """All chunks by their Morton code: bits of z, y, x in turn, lowest first, as far as an axis has any."""
    bits = [(n - 1).bit_length() for n in counts]
    places = [(axis, bit) for bit in range(max(bits)) for axis in range(3) if bit < bits[axis]]

    def code(at: Vec3) -> int:
        return sum((at[axis] >> bit & 1) << i for i, (axis, bit) in enumerate(places))

    return iter(sorted((vec3(at) for at in np.ndindex(*counts)), key=code))


def _read_index(file: BinaryIO, counts: Vec3) -> npt.NDArray[np.uint64]:
    """(z, y, x, 2): offset and size of each chunk."""
    size = 2 * prod(counts) * _ENTRY.itemsize + _CRC_BYTES
    data = _without_crc(_read(file, file.seek(0, io.SEEK_END) - size, size))
    return np.frombuffer(data, _ENTRY).reshape(*counts, 2)


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    whole = file.seek(0, io.SEEK_END)
    if not (offset >= 0 and _CRC_BYTES < size <= whole - offset):
        raise EOFError(f"it has {whole} bytes")
    file.seek(offset)
    return file.read(size)


def _voxels(data: bytes, inner: Vec3) -> Labels:
    due = prod(inner) * _VOXEL.itemsize
    size = zstandard.frame_content_size(data)
    if size != due:
        raise ValueError(f"a chunk of {size:,} bytes where {due:,} are due")
    flat = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), _VOXEL)
    return flat.reshape(inner)


def _with_crc(data: bytes) -> bytes:
    return data + bytes(google_crc32c.value(data).to_bytes(_CRC_BYTES, "little"))


def _without_crc(data: bytes) -> bytes:
    """What a CRC32C at the end vouches for."""
    held = data[:-_CRC_BYTES]
    if google_crc32c.value(held) != int.from_bytes(data[-_CRC_BYTES:], "little"):
        raise ValueError("the checksum is wrong")
    return held
