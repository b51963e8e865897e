"""Chunks of precomputed volumes that are stored as pictures: png and jpeg.

A picture's pixels are a chunk's voxels in the format's order, x fastest, then y, then z; a pixel
holds all channels. cloud-volume 12.15 takes each channel for a third of the chunk, so maps of three
channels come out wrong there, without an error.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.formats.inflating import check_size

Array = npt.NDArray[Any]
#: What is decoded here.
PICTURES = ("png", "jpeg")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_picture(data: bytes, encoding: str, shape: tuple[int, int, int, int]) -> Array:
    """A chunk (c, z, y, x).

    Raises
    ------
    ValueError
        It is no such picture, or of another number of pixels or channels.
    """
    pixels = _png(data, shape) if encoding == "png" else _jpeg(data, shape)
    if pixels.size != prod(shape):
        raise ValueError(f"a picture of {pixels.shape}, where {prod(shape)} values are due")
    channels, *zyx = shape
    return np.moveaxis(pixels.reshape(*zyx, channels), -1, 0)


def _png(data: bytes, shape: tuple[int, int, int, int]) -> Array:
    import pyspng

    if data[:8] != _PNG_SIGNATURE:
        raise ValueError("it has no signature of PNG")
    _check(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"), shape)
    return np.asarray(pyspng.load(data))


def _jpeg(data: bytes, shape: tuple[int, int, int, int]) -> Array:
    import simplejpeg

    height, width, *_ = simplejpeg.decode_jpeg_header(data)
    _check(height, width, shape)
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB" if shape[0] == 3 else "GRAY"))


def _check(a: int, b: int, shape: tuple[int, int, int, int]) -> None:
    """Before memory is taken for it."""
    check_size(a * b, prod(shape[1:]))
