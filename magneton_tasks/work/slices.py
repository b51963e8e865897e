"""What tasks of faces, rounds and cut hand to others: tables in slices, those of many in one file.

A *slice* is the rows of one table that one *source* (a block, a group) leaves for one *destination*
(a block, a fine group; 0 where whoever reads wants all of it). Whoever reads asks for sources or
destinations, and only what holds their slices is read. `slice_writer` writes them, in `slice_pages`.

Each file has a name of its own, is never changed, and appears whole or not at all. A record names
it, and tells its size and CRC-32. Each page has a CRC-32 of its own in the index, which has one as
well: reading compares them.

Measured: of 100,000 slices of three half-edges each takes .9 us of CPU to write, .7 to read and 57 B;
with a page each 7.5, 7.8 and 127. Of mouse cortex a half-edge takes 8 to 15 B, a name 4 to 9, a node 2
to 6; in pages of 1,024 rows .08 to .18 us a row to pack and .06 to .13 to unpack, in large ones .04 to
.12 and .03 to .09.
"""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import CorruptFileError, NotVisibleError
from magneton_tasks.work import slice_pages
from magneton_tasks.work.slice_pages import (
    FOOTER_BYTES,
    Column,
    Index,
    Slices,
    columns_of,
    dtypes,
)

Int64 = NDArray[np.int64]
#: A NamedTuple of columns, each (rows,).
Table = TypeVar("Table", bound=tuple[Any, ...])

#: Read from the end of a file at once: most indices.
_END_BYTES = 1 << 16


class SliceFile:
    """A file of slices that is read; `opened` makes it."""

    def __init__(self, path: Path, file: BinaryIO, index: Index) -> None:
        self._path, self._file, self._index = path, file, index

    def read(
        self,
        kind: type[Table],
        *,
        sources: Collection[int] | None = None,
        to: Collection[int] | None = None,
    ) -> Table:
        """The rows of a table from some sources (None: all) for some destinations (None: all).

        They come by destination, then by source, then as they were added. Arrays are writeable.

        Raises
        ------
        CorruptFileError
            What is read of the file is damaged.
        OutputError
            The file system failed.
        """
        number = list(self._index.kinds).index(kind.__name__)
        if self._index.kinds[kind.__name__] != columns_of(kind):
            raise _corrupt(self._path, f"it has other columns of {kind.__name__}")
        wanted = self._selected(number, sources, to)
        begins = np.cumsum(wanted.rows, dtype=np.int64) - wanted.rows
        out = [np.empty(int(wanted.rows.sum(dtype=np.int64)), t) for t in dtypes(kind)]
        order = np.argsort(wanted.page, kind="stable")
        pages, firsts = np.unique(wanted.page[order], return_index=True)
        for page, which in zip(pages.tolist(), np.split(order, firsts[1:]), strict=False):
            counts = wanted.rows[which].astype(np.int64)
            from_, into = _rows(wanted.begin[which], counts), _rows(begins[which], counts)
            rows = int(self._index.pages.rows[page])
            if isinstance(from_, slice) and isinstance(into, slice) and from_ == slice(0, rows):
                self._read_page(page, [filled[into] for filled in out])
                continue
            columns = [np.empty(rows, filled.dtype) for filled in out]
            self._read_page(page, columns)
            for column, filled in zip(columns, out, strict=True):
                filled[into] = column[from_]
        table: Table = kind._make(out)  # type: ignore[attr-defined]
        return table

    def rows(self, kind: type[Any]) -> dict[tuple[int, int], int]:
        """How many rows of a table there are, by (source, destination)."""
        found: dict[tuple[int, int], int] = {}
        wanted = self._selected(list(self._index.kinds).index(kind.__name__), None, None)
        for source, to, rows in zip(
            *(c.tolist() for c in wanted[1:3]), wanted.rows.tolist(), strict=True
        ):
            found[source, to] = found.get((source, to), 0) + rows
        return found

    def _selected(
        self, kind: int, sources: Collection[int] | None, to: Collection[int] | None
    ) -> Slices:
        """Slices in the order in which their rows come."""
        slices = self._index.slices
        mine = self._index.pages.kind[slices.page] == kind
        for column, wanted in ((slices.source, sources), (slices.to, to)):
            if wanted is not None:
                mine &= np.isin(column, np.fromiter(wanted, np.int64, len(wanted)))
        rows = np.flatnonzero(mine)
        rows = rows[np.lexsort((slices.source[rows], slices.to[rows]))]
        return Slices._make(column[rows] for column in slices)

    def _read_page(self, number: int, columns: list[Column]) -> None:
        """Fill columns of a page's length."""
        _, offset, size, crc32, _ = (int(c[number]) for c in self._index.pages)
        with _told(self._path):
            self._file.seek(offset)
            data = self._file.read(size)
            if len(data) != size or zlib.crc32(data) != crc32:
                raise ValueError(f"{size} bytes at {offset} don't have their checksum")
            slice_pages.unpack_into(data, columns)


def _rows(begins: Column, counts: Int64) -> Int64 | slice:
    """Row numbers of runs; a slice where they are one."""
    if begins.size == 1 or (begins[1:] == begins[:-1] + counts[:-1]).all():
        return slice(int(begins[0]), int(begins[-1] + counts[-1]))
    ends = np.cumsum(counts)
    found: Int64 = np.arange(ends[-1]) + np.repeat(begins - (ends - counts), counts)
    return found


@contextmanager
def opened(path: Path, info: FileInfo | None, wait_s: float) -> Iterator[SliceFile]:
    """A file of slices; what isn't asked for isn't read.

    Parameters
    ----------
    info
        What the record says of the file; without it any size will do.

    Raises
    ------
    NotVisibleError
        It isn't there within ``wait_s``.
    CorruptFileError
        It has another size, or its index is damaged.
    OutputError
        The file system failed.
    """
    files.await_file(path, info.size if info else None, wait_s)
    with _told(path):
        file = files.open_read(path)
    with file:
        with _told(path):
            index = _read_index(file)
        yield SliceFile(path, file, index)


def read_all(
    paths: Mapping[Path, FileInfo | None],
    kinds: Sequence[type[Any]],
    wait_s: float,
    *,
    sources: Callable[[Path], Collection[int] | None] = lambda _: None,
    to: Collection[int] | None = None,
) -> list[Any]:
    """Tables of several files, one after the other; each file is opened once.

    While they are put together they take one column more.

    Parameters
    ----------
    sources
        Which sources count in a file: those whose records name it.

    Returns
    -------
    list
        A table of each kind.

    Raises
    ------
    NotVisibleError, CorruptFileError, OutputError
        As `opened`.
    """
    files.await_files({path: info.size if info else None for path, info in paths.items()}, wait_s)
    parts: list[list[list[Column]]] = [[[] for _ in dtypes(kind)] for kind in kinds]
    for path, info in paths.items():
        with opened(path, info, 0.0) as file:
            for kind, columns in zip(kinds, parts, strict=True):
                for pieces, column in zip(
                    columns, file.read(kind, sources=sources(path), to=to), strict=True
                ):
                    if column.size:
                        pieces.append(column)
    found = []
    for kind, columns in zip(kinds, parts, strict=True):
        joined = []
        for pieces, dtype in zip(columns, dtypes(kind), strict=True):
            whole = pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, dtype), *pieces])
            joined.append(whole)
            pieces.clear()
        found.append(kind._make(joined))
    return found


def _read_index(file: BinaryIO) -> Index:
    size = file.seek(0, 2)
    file.seek(max(size - _END_BYTES, 0))
    end = file.read()
    footer = slice_pages.decode_footer(end)
    if footer.file_size != size or footer.offset + footer.size + FOOTER_BYTES != size:
        raise ValueError(f"it has {size} bytes, {footer.file_size} were written")
    if footer.size + FOOTER_BYTES > len(end):
        file.seek(footer.offset)
        end = file.read()
    begin = len(end) - FOOTER_BYTES - footer.size
    return slice_pages.decode_index(end[begin : begin + footer.size], footer.crc32)


#: What bytes that aren't ours lead to.
_DAMAGE = (ValueError, KeyError, TypeError, struct.error, OverflowError)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever a file's bytes lead to becomes an error of ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotVisibleError(f"{path} has just gone", "rerun") from error
    except _DAMAGE as error:
        raise _corrupt(path, error) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # sought where no file goes
            raise _corrupt(path, error) from error
        raise files.reading_failed(path, error) from error


def _corrupt(path: Path, what: object) -> CorruptFileError:
    return CorruptFileError(
        f"{path} is damaged ({what})", "rerun: what the file held is computed again"
    )
