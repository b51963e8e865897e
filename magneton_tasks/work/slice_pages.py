"""The parts of a file of slices: pages of packed columns, and the index that tells where each is.

::

    page  page  ...  index  footer (32 bytes)

A *page* is some rows of one table, by zstd at level 1: of each column its base (int64), the bytes
that its values take, and whether it is steps that are kept (uint8 each); then the columns one after
the other as `kernels.byte_planes` makes them. A slice of many rows has pages of its own, and small
slices that were added together share one.
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

from magneton_tasks.kernels import byte_planes

Column = NDArray[Any]

#: A page is full when it has this many rows: a reader of three rows unpacks so many (70 us).
#: Measured on half-edges (60 B) of mouse cortex, bytes and CPU us a row to pack: pages of 128 rows
#: 10.2 and .58, 1,024 rows 9.3 and .15, 16,384 rows 8.8 and .09, 65,536 rows 8.4 and .09.
SHARED_ROWS = 1024
#: More rows of one slice than these are in several pages: what unpacking holds (4 MB of half-edges).
MOST_ROWS = 65536

#: Of each column, at the begin of a page.
_HEAD = np.dtype([("base", "<i8"), ("bytes", "u1"), ("steps", "u1")])

_MAGIC = b"slices\x00\x02"
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
    numbers = [byte_planes.whole_numbers(column) for column in columns]
    head = np.zeros(len(columns), _HEAD)
    for told, values in zip(head, numbers, strict=True):
        if values.size:
            told["base"], told["bytes"], told["steps"] = byte_planes.measure(values)
    rows = numbers[0].size
    page = np.empty(head.nbytes + rows * int(head["bytes"].sum()), np.uint8)
    page[: head.nbytes] = head.view(np.uint8)
    begin = head.nbytes
    for (base, size, steps), values in zip(head.tolist(), numbers, strict=True):
        end = begin + size * rows
        byte_planes.split(values, base, bool(steps), page[begin:end].reshape(size, rows))
        begin = end
    return zstandard.ZstdCompressor(level=1).compress(page.data)


def unpack(data: bytes, kinds: Sequence[np.dtype[Any]], rows: int) -> list[Column]:
    """The columns of a page.

    Raises
    ------
    ValueError
        It isn't one of these columns and rows.
    """
    columns: list[Column] = [np.empty(rows, dtype) for dtype in kinds]
    unpack_into(data, columns)
    return columns


def unpack_into(data: bytes, columns: Sequence[Column]) -> None:
    """The same, into contiguous columns as long as the page; ValueError as of `unpack`."""
    rows = columns[0].size
    most = _HEAD.itemsize * len(columns) + sum(column.nbytes for column in columns)
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=most)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    page = np.frombuffer(raw, np.uint8)
    begin = _HEAD.itemsize * len(columns)
    head = page[:begin].view(_HEAD).tolist()
    if page.size != begin + rows * sum(size for _, size, _ in head):
        raise ValueError(f"{page.size} bytes aren't {rows} rows of {len(columns)} columns")
    for (base, size, steps), column in zip(head, columns, strict=True):
        end = begin + size * rows
        planes = page[begin:end].reshape(size, rows)
        byte_planes.merge(planes, base, bool(steps), byte_planes.whole_numbers(column))
        begin = end


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
