"""The bytes of precomputed chunks: names, encodings and compression, without cloud-volume.

Importing cloud-volume costs 3 CPU seconds; its codecs are packages of their own, so that chunks
can be encoded and decoded with them directly, to the same voxels.

An array (c, z, y, x) in C order has the memory of the format's (x, y, z, c) in Fortran order:
transposing is a view, never a copy.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.failures import telling
from magneton_tasks.base.files import Buffer
from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.info import ENCODING_OF
from magneton_tasks.formats.precomputed.images import PICTURES, decode_picture

#: What can be written; ``raw`` takes any dtype, the others hold labels.
ENCODINGS = ("raw", "compressed_segmentation", "crackle")
#: What is decoded here.
DECODED = (*ENCODINGS, *PICTURES)
#: File name suffix of each compression on ``file://``.
SUFFIXES = {encoding: suffix for suffix, encoding in ENCODING_OF.items()}
#: libdeflate's level 6: 0.004 us per voxel of compressed_segmentation and 0.073 bytes; level 9
#: (cloud-volume's default) takes five times as long for 1 % less, level 1 gives 17 % more.
GZIP_LEVEL = 6
#: (z, y, x); Neuroglancer's and cloud-volume's default.
CSEG_BLOCK: Vec3 = (8, 8, 8)

_CHUNK_NAME = re.compile(r"(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)_(-?\d+)-(-?\d+)")


def chunk_box(name: str) -> Box | None:
    """The box that a chunk's file name (with or without suffix) stands for; None for other files."""
    stem = name
    for suffix in filter(None, SUFFIXES.values()):
        stem = stem.removesuffix(suffix)
    match = _CHUNK_NAME.fullmatch(stem)
    if match is None:
        return None
    x0, x1, y0, y1, z0, z1 = map(int, match.groups())
    return Box((z0, y0, x0), (z1, y1, x1))


def check_encoding(encoding: str, dtype: npt.DTypeLike) -> None:
    """Refuse an encoding that can't be written here, or doesn't hold this dtype.

    Raises
    ------
    ConfigError
        Naming the encoding and what would serve.
    """
    if encoding not in ENCODINGS:
        raise ConfigError(
            f"encoding {encoding!r} can't be written", f"use one of {', '.join(ENCODINGS)}"
        )
    name = np.dtype(dtype).name
    if encoding == "compressed_segmentation" and name not in ("uint32", "uint64"):
        raise ConfigError(
            f"compressed_segmentation holds uint32 or uint64, not {name}", "use encoding raw"
        )
    if encoding == "crackle":
        _crackle()


def encode_chunk(chunk: npt.NDArray[np.generic], encoding: str) -> bytes:
    """Encode one chunk (c, z, y, x); labels have one channel."""
    if encoding == "raw":
        return chunk.tobytes("C")
    if encoding == "crackle":
        # Its bytes differ with the order of an array: so equal voxels have equal bytes.
        labels = np.asfortranarray(chunk[0].T)
        return bytes(_crackle().compress(labels, parallel=1))
    import compressed_segmentation

    # The package reads any strides wrongly but its two orders, and refuses read-only arrays.
    labels = np.require(chunk, requirements=["C", "W"])
    if len(labels) == 1:
        labels = labels[0]
    return bytes(compressed_segmentation.compress(labels.T, block_size=CSEG_BLOCK, order="F"))


def encode_indexed(
    indices: npt.NDArray[np.uint32], box: Box, ids: npt.NDArray[np.uint64], encoding: str
) -> Buffer:
    """Encode the chunk ``box`` of labels that are given as indices into their ids, as `encode_chunk`.

    Parameters
    ----------
    indices
        uint32 (z, y, x), C order.
    box
        In voxels of ``indices``.
    ids
        uint64 (n,), ascending.

    Raises
    ------
    BadDataError
        The encoding can't hold so many labels.
    """
    if encoding != "compressed_segmentation":
        return encode_chunk(ids[indices[box.slices()]][np.newaxis], encoding)
    # numba: whoever decodes, or writes images, does without
    from magneton_tasks.kernels import cseg

    return cseg.encode(indices, box, ids).astype("<u4", copy=False).data.cast("B")


def decode_chunk(
    data: bytes,
    encoding: str,
    shape: tuple[int, int, int, int],
    dtype: npt.DTypeLike,
    cseg_block: Vec3 = CSEG_BLOCK,
) -> npt.NDArray[np.generic]:
    """Decode one chunk to (c, z, y, x), possibly read-only.

    Raises
    ------
    BadDataError
        Where the bytes are truncated or aren't of this encoding and shape.
    """
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if encoding == "raw":
        if len(data) != expected:
            raise BadDataError(f"a raw chunk of {len(data)} bytes where {expected} are due")
        return np.frombuffer(data, dtype=dtype).reshape(shape)
    if encoding == "compressed_segmentation":
        _check_cseg(data, shape, np.dtype(dtype).itemsize // 4, cseg_block)
    with telling(f"a chunk that {encoding} can't decode", decodes=True):
        if encoding == "crackle":
            crackle = _crackle().codec
            # A file cut off at the end is decoded to wrong labels, without an error.
            stored = crackle.labels_crc(data)
            if stored is not None and stored != crackle.crc32c(crackle.raw_labels(data)):
                raise ValueError("the checksum of its labels is wrong")
            flat = crackle.decompress(data, parallel=1)
        elif encoding in PICTURES:
            return np.asarray(decode_picture(data, encoding, shape), dtype=dtype)
        else:
            import compressed_segmentation

            flat = compressed_segmentation.decompress(
                data, shape[::-1], np.dtype(dtype).type, vec3(cseg_block[::-1]), order="F"
            )
        return np.asarray(flat.reshape(shape[::-1], order="F").T, dtype=dtype)


def _check_cseg(data: bytes, shape: tuple[int, int, int, int], words: int, block: Vec3) -> None:
    """Refuse bytes whose offsets lead outside them: the decoder reads there, or dies of it.

    One header of two 32-bit words a block and channel: 24 bits offset of the block's table of
    labels (``words`` 32-bit words each) and 8 bits for the bits per voxel; offset of the voxels.
    """
    stream = np.frombuffer(data[: len(data) // 4 * 4], dtype="<u4")
    blocks = int(np.prod([ceil_div(s, b) for s, b in zip(shape[1:], block, strict=True)]))
    per_bit = int(np.prod(block)) // 32
    truncated = BadDataError(f"a compressed_segmentation chunk cut off at {len(data)} bytes")
    if len(data) % 4 or len(stream) < shape[0] or int(stream[: shape[0]].max()) >= len(stream):
        raise truncated
    for start in stream[: shape[0]].astype(np.int64):
        headers = stream[start : start + 2 * blocks].astype(np.int64)
        if len(headers) < 2 * blocks:
            raise truncated
        tables, bits, voxels = headers[::2] & 0xFFFFFF, headers[::2] >> 24, headers[1::2]
        if (start + max((tables + words).max(), (voxels + bits * per_bit).max())) > len(stream):
            raise truncated


def compress(data: Buffer, method: str | None) -> bytes:
    """Compress an encoded chunk: None or ``gzip`` (no time stamp: equal voxels, equal bytes)."""
    if method is None:
        return bytes(data)
    if method != "gzip":
        raise ConfigError(f"compress: {method!r} can't be written", "use gzip or null")
    import deflate

    return bytes(deflate.gzip_compress(data, GZIP_LEVEL))


def _crackle() -> Any:
    try:
        import crackle
    except ImportError as error:
        raise ConfigError(
            "encoding crackle needs the package crackle-codec", "pip install crackle-codec"
        ) from error
    return crackle
