"""Small files that inflate to much, and memory that is too little for them."""

from __future__ import annotations

import resource
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import brotli
import zstandard

MIB = 2**20
#: What each of the bombs inflates to, in bytes.
INFLATED = 160 * MIB


def _gzip() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(INFLATED // MIB)) + packer.flush()


def _modest_gzip() -> bytes:
    return _gzip()[:-4] + (1000).to_bytes(4, "little")


def _brotli() -> bytes:
    packer = brotli.Compressor(quality=5)
    pieces = [bytes(packer.process(bytes(MIB))) for _ in range(INFLATED // MIB)]
    return b"".join([*pieces, bytes(packer.finish())])


def _zstd() -> bytes:
    packer = zstandard.ZstdCompressor().compressobj(size=INFLATED)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(INFLATED // MIB)) + packer.flush()


def _silent_zstd() -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(packer.compress(bytes(MIB)) for _ in range(INFLATED // MIB)) + packer.flush()


_KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": (".gz", _gzip),
    "gzip that tells of 1000 bytes": (".gz", _modest_gzip),
    "brotli": (".br", _brotli),
    "zstd": (".zstd", _zstd),
    "zstd that tells no size": (".zstd", _silent_zstd),
}
KINDS = tuple(_KINDS)


@cache
def bomb(kind: str) -> tuple[str, bytes]:
    """Suffix and bytes of one of `KINDS`; less than 0.5 MB."""
    suffix, make = _KINDS[kind]
    return suffix, make()


@contextmanager
def little_memory(mib: int) -> Iterator[None]:
    """This process gets no more than so many MiB beside what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + mib * MIB, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def replace_chunk(path: Path, kind: str) -> None:
    """A bomb takes the place of a chunk, whose name ends in ``.gz``."""
    suffix, data = bomb(kind)
    path.unlink()
    path.with_suffix(suffix).write_bytes(data)
