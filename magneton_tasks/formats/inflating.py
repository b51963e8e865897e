"""Compressed files of chunks, inflated to what a chunk can have at the most, never to more.

Half a megabyte can hold gigabytes of zeros. What inflates beyond a chunk's size is damage, and it is
found before memory is taken for it.
"""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Vec3, ceil_div

#: The most bytes that one byte can stand for: 258 in two bits (deflate), a block of 128 KiB in
#: four bytes (zstd).
_DEFLATE_MOST = 1032
_ZSTD_MOST = 2**15
#: Headers and tables of the encodings that aren't computed here, in bytes.
BESIDE = 2**16


def most_encoded(
    shape: tuple[int, int, int, int], dtype: npt.DTypeLike, encoding: str, cseg_block: Vec3
) -> int:
    """The most bytes that a chunk (c, z, y, x) has in an encoding, before it is compressed."""
    voxels, size = prod(shape), np.dtype(dtype).itemsize
    if encoding == "raw":
        return voxels * size
    if encoding == "compressed_segmentation":
        # One offset per channel; of each block a header, a table of one label per voxel, 32 bits per voxel.
        blocks = shape[0] * prod(ceil_div(s, b) for s, b in zip(shape[1:], cseg_block, strict=True))
        return 4 * shape[0] + blocks * (8 + prod(cseg_block) * (size + 4))
    # Noise in crackle has 1.5 bytes for each of uint64, 2 of uint32; no other comes near.
    return 2 * voxels * size + 8 * voxels + BESIDE


def decompress(data: bytes, path: Path | str, most: int) -> bytes:
    """Undo what the suffix of ``path`` says (.gz, .br, .zstd or nothing).

    Parameters
    ----------
    most
        Bytes that it can have (`most_encoded`); hardly more memory than that is taken.

    Raises
    ------
    BadDataError
        Where the file is truncated, isn't what its suffix says, or holds more.
    """
    suffix = Path(path).suffix
    with telling(f"{path}: {len(data)} bytes that can't be decompressed", decodes=True):
        if suffix == ".gz":
            return _gunzip(data, most)
        if suffix == ".br":
            return _unbrotli(data, most)
        if suffix == ".zstd":
            return _unzstd(data, most)
    return data


def _gunzip(data: bytes, most: int) -> bytes:
    import deflate

    # libdeflate checks the CRC but trusts the size in the last four bytes, and takes that much and
    # no more; an empty or cut file must not reach it.
    if len(data) < 18 or data[:2] != b"\x1f\x8b":
        raise ValueError("not a gzip file")
    _check_size(int.from_bytes(data[-4:], "little"), data, _DEFLATE_MOST, most)
    return bytes(deflate.gzip_decompress(data))


def _unbrotli(data: bytes, most: int) -> bytes:
    import brotli

    decompressor = brotli.Decompressor()
    # Reaching the limit says nothing yet: it stops there also where nothing is left but the end.
    inflated = decompressor.process(data, output_buffer_limit=most + 1)
    if len(inflated) > most:
        raise _too_much(most)
    if not decompressor.is_finished():
        raise ValueError("it is cut off")
    return bytes(inflated)


def _unzstd(data: bytes, most: int) -> bytes:
    import zstandard

    _check_size(zstandard.frame_content_size(data), data, _ZSTD_MOST, most)
    try:
        # The limit is for frames that don't tell their size; 0 would be none.
        return bytes(zstandard.ZstdDecompressor().decompress(data, max_output_size=max(most, 1)))
    except zstandard.ZstdError as error:
        if "Destination buffer is too small" in str(error):
            raise _too_much(most) from None
        raise


def _check_size(size: int, data: bytes, ratio: int, most: int) -> None:
    """Refuse a size that no file of these bytes has, or no chunk: memory for it might not be had.

    Out of memory is tried again with more, and damage isn't.
    """
    if size > ratio * len(data):
        raise ValueError(f"it says that it holds {size:,} bytes")
    check_size(size, most)


def check_size(size: int, most: int) -> None:
    """Refuse a size that a header tells of, and that is more than there can be.

    Raises
    ------
    ValueError
    """
    if size > most:
        raise _too_much(most)


def inflate_gzip(data: bytes, most: int) -> bytes:
    """A gzip stream, of one or more members, as it is inflated: to ``most`` bytes.

    Raises
    ------
    ValueError, zlib.error
        It holds more, is cut off, or damaged.
    """
    found = b""
    while data:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        found += member.decompress(data, most - len(found) + 1)
        if len(found) > most:
            raise _too_much(most)
        if not member.eof:
            raise ValueError("it is cut off")
        data = member.unused_data.lstrip(b"\0")  # padding, which gzip(1) ignores too
    return found


def _too_much(most: int) -> ValueError:
    return ValueError(f"it holds more than the {most:,} bytes that such a chunk can have")
