"""The parts of a file of slices: pages of packed columns, and the index that tells where each is.

::

    page  page  ...  index  footer (32 bytes)

A *page* is some rows of one table: its columns one after the other, each as a byte stream split
(all first bytes, then all second ones, ...), then zstd at level 1. A slice of many rows has pages of
its own, and small slices that were added together share one.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
import zstandard
from numpy.typing import NDArray

Column = NDArray[Any]

#: A page is full when it has this many rows: a reader of three rows unpacks so many (70 us).
#: Measured on half-edges (60 B) of mouse cortex, bytes and CPU us a row to pack: pages of 128 rows
#: 13.5 and .23, 1,024 rows 12.7 and .10, 16,384 rows 11.8 and .08, 65,536 rows 8.6 and .14.
SHARED_ROWS = 1024
#: More rows of one slice than these are in several pages: what unpacking holds (4 MB of half-edges).
MOST_ROWS = 65536

_MAGIC = b"slices\x00\x01"
_FOOTER = struct.Struct("<QIIQ8s")
FOOTER_BYTES = _FOOTER.size


class Pages(NamedTuple):
    """Of a file, in its order."""

    kind: NDArray[np.uint32]
    offset: NDArray[np.int64]
    size: NDArray[np.uint32]
    """Bytes."""
    crc32: NDArray[np.uint32]
    """Of these bytes."""
    rows: NDArray[np.uint32]


class Slices(NamedTuple):
    """Of a file: rows of one source for one destination in one page."""

    page: NDArray[np.uint32]
    source: NDArray[np.int64]
    to: NDArray[np.int64]
    begin: NDArray[np.uint32]
    """First row in its page."""
    rows: NDArray[np.uint32]


class Index(NamedTuple):
    """What a file holds."""

    kinds: dict[str, list[list[str]]]
    """[name, dtype] of each column of each table."""
    pages: Pages
    slices: Slices


class Footer(NamedTuple):
    """Where a file's index lies."""

    offset: int
    size: int
    crc32: int
    file_size: int


_dtypes: dict[type[Any], tuple[np.dtype[Any], ...]] = {}


def dtypes(kind: type[Any]) -> tuple[np.dtype[Any], ...]:
    """The dtype of each column of a NamedTuple of arrays, by its annotations."""
    if kind not in _dtypes:
        hints = get_type_hints(kind)
        found = (get_args(get_args(hints[name])[1])[0] for name in kind._fields)
        _dtypes[kind] = tuple(map(np.dtype, found))
    return _dtypes[kind]


def columns_of(kind: type[Any]) -> list[list[str]]:
    """[name, dtype] of each column of a table, as an index has them."""
    return [[name, t.str] for name, t in zip(kind._fields, dtypes(kind), strict=True)]


def pack(columns: Sequence[Column]) -> bytes:
    """Equally long columns as a page."""
    return zstandard.ZstdCompressor(level=1).compress(b"".join(map(_split, columns)))


def unpack(data: bytes, kinds: Sequence[np.dtype[Any]], rows: int) -> list[Column]:
    """The columns of a page.

    Raises
    ------
    ValueError
        It isn't one of these columns and rows.
    """
    size = rows * sum(dtype.itemsize for dtype in kinds)
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes instead of {size}")
    found, begin = [], 0
    for dtype in kinds:
        end = begin + rows * dtype.itemsize
        planes = np.frombuffer(raw[begin:end], np.uint8).reshape(dtype.itemsize, rows)
        found.append(np.ascontiguousarray(planes.T).reshape(-1).view(dtype))
        begin = end
    return found


def _split(column: Column) -> bytes:
    little = np.ascontiguousarray(column, column.dtype.newbyteorder("<"))
    planes = little.view(np.uint8).reshape(column.size, little.itemsize)
    return planes.T.tobytes()


def encode_index(index: Index, offset: int) -> bytes:
    """An index with the file's footer; ``offset``: where it begins."""
    told = {"kinds": index.kinds, "pages": index.pages.kind.size, "slices": index.slices.page.size}
    text = json.dumps(told, separators=(",", ":")).encode()
    packed = pack(index.pages), pack(index.slices)
    sizes = struct.pack("<III", len(text), *map(len, packed))
    data = b"".join((sizes, text, *packed))
    file_size = offset + len(data) + FOOTER_BYTES
    return data + _FOOTER.pack(offset, len(data), zlib.crc32(data), file_size, _MAGIC)


def decode_footer(data: bytes) -> Footer:
    """The footer of the last bytes of a file; ValueError if it isn't one."""
    *found, magic = _FOOTER.unpack(data[-FOOTER_BYTES:])
    if magic != _MAGIC:
        raise ValueError("its end isn't that of a file of slices")
    return Footer(*found)


def decode_index(data: bytes, crc32: int) -> Index:
    """Back from `encode_index`, without the footer; ValueError if it is damaged."""
    if zlib.crc32(data) != crc32:
        raise ValueError("its index doesn't have its checksum")
    begin = struct.calcsize("<III")
    text, pages, slices = struct.unpack("<III", data[:begin])
    told = json.loads(data[begin : begin + text])
    begin += text
    return Index(
        told["kinds"],
        Pages._make(unpack(data[begin : begin + pages], dtypes(Pages), told["pages"])),
        Slices._make(
            unpack(data[begin + pages : begin + pages + slices], dtypes(Slices), told["slices"])
        ),
    )
