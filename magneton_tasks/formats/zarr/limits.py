"""Zarr's codecs for reading what others wrote: a chunk is inflated to its own size, never to more."""

from __future__ import annotations

from math import prod
from typing import Any

import zarr
import zstandard
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.registry import register_codec

from magneton_tasks.formats.inflating import check_size, inflate_gzip

#: What codecs before the compression may add to a chunk, such as checksums, in bytes.
_BESIDE = 64
_UNKNOWN = -1


class LimitedGzip(GzipCodec):
    """gzip."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        found = inflate_gzip(chunk_bytes.to_bytes(), _most(chunk_spec))
        return chunk_spec.prototype.buffer.from_bytes(found)


class LimitedZstd(ZstdCodec):
    """zstd: a frame tells its size, or is inflated up to the most that there may be."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data, most = chunk_bytes.to_bytes(), _most(chunk_spec)
        size = zstandard.frame_content_size(data)
        if size == _UNKNOWN:
            found = zstandard.ZstdDecompressor().decompress(data, max_output_size=most)
            return chunk_spec.prototype.buffer.from_bytes(found)
        check_size(size, most)
        return super()._decode_sync(chunk_bytes, chunk_spec)


class LimitedBlosc(BloscCodec):
    """Blosc: takes the memory that its header tells of, in the bytes 4 to 8."""

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        head = chunk_bytes[:8].to_bytes()
        check_size(int.from_bytes(head[4:], "little"), _most(chunk_spec))
        return super()._decode_sync(chunk_bytes, chunk_spec)


_CODECS = {"gzip": LimitedGzip, "zstd": LimitedZstd, "blosc": LimitedBlosc}


def open_limited(**where: Any) -> Any:
    """As ``zarr.open_array``, with the codecs of this module."""
    for name, codec in _CODECS.items():
        register_codec(name, codec)
    with zarr.config.set(
        {f"codecs.{n}": f"{__name__}.{c.__qualname__}" for n, c in _CODECS.items()}
    ):
        return zarr.open_array(**where)


def _most(spec: ArraySpec) -> int:
    return prod(spec.shape) * spec.dtype.to_native_dtype().itemsize + _BESIDE
