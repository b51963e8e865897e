"""One block of N5: its header, and its voxels by the array's compression.

https://github.com/saalfeldlab/n5, "File-system specification". TensorStore reads N5, too, but it
ends a process that forks after it was used, and each of our blocks has a forked child.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.formats.inflating import check_size, inflate_gzip

Array = npt.NDArray[Any]
_WITH_COUNT, _OBJECTS = 1, 2


def decode(data: bytes, compression: str, block: tuple[int, ...], dtype: str) -> Array:
    """The voxels of a block, the slowest axis first; at the array's end it may be smaller.

    Parameters
    ----------
    block
        Shape of the array's blocks, the slowest axis first.

    Raises
    ------
    ValueError
        It isn't a block of this array, or damaged.
    """
    if len(data) < 4 + 4 * len(block):
        raise ValueError(f"{len(data)} bytes, which hold no header")
    mode, rank = struct.unpack_from(">HH", data)
    if mode not in (0, _WITH_COUNT) or rank != len(block):
        raise ValueError(
            f"a block of mode {mode} with {rank} axes, where {len(block)} are expected"
        )
    shape = struct.unpack_from(f">{rank}I", data, 4)[::-1]
    if any(n > most for n, most in zip(shape, block, strict=True)):
        raise ValueError(f"a block of {shape} voxels, and the array's have {block}")
    begin = 4 + 4 * rank + (4 if mode == _WITH_COUNT else 0)
    stored = np.dtype(dtype).newbyteorder(">")
    size = prod(shape) * stored.itemsize
    raw = INFLATE[compression](data[begin:], prod(block) * stored.itemsize)
    if len(raw) < size:
        raise ValueError(f"{len(raw):,} bytes, and {size:,} are expected: it is cut off")
    return np.frombuffer(raw, stored, prod(shape)).reshape(shape)


def _raw(data: bytes, most: int) -> bytes:
    return data


def _zlib(data: bytes, most: int) -> bytes:
    stream = zlib.decompressobj()
    found = stream.decompress(data, most + 1)
    check_size(len(found), most)
    return found


def _bzip2(data: bytes, most: int) -> bytes:
    found = bz2.BZ2Decompressor().decompress(data, most + 1)
    check_size(len(found), most)
    return found


def _xz(data: bytes, most: int) -> bytes:
    found = lzma.LZMADecompressor().decompress(data, most + 1)
    check_size(len(found), most)
    return found


def _zstd(data: bytes, most: int) -> bytes:
    import zstandard

    check_size(zstandard.frame_content_size(data), most)
    return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=max(most, 1)))


def _blosc(data: bytes, most: int) -> bytes:
    from numcodecs import blosc

    check_size(int.from_bytes(data[4:8], "little"), most)
    return bytes(blosc.decompress(data))


#: By the name of `metadata`; each undoes a compression, to no more bytes than a block can have.
INFLATE: dict[str, Callable[[bytes, int], bytes]] = {
    "raw": _raw, "gzip": inflate_gzip, "zlib": _zlib, "bzip2": _bzip2, "xz": _xz, "zstd": _zstd,
    "blosc": _blosc,
}  # fmt: skip
