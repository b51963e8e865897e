"""Writing a file of slices, see `slices`."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.work import slice_pages
from magneton_tasks.work.slice_pages import (
    MOST_ROWS,
    SHARED_ROWS,
    Column,
    Index,
    Pages,
    Slices,
    columns_of,
    dtypes,
)

Int64 = NDArray[np.int64]

#: Packed pages are held up to this many bytes, then written.
FLUSH_BYTES = 1 << 20
#: Slices of so many pages are put together: five arrays a page take more than what they hold.
_TOGETHER = 256


def new_path(directory: Path, kind: str) -> Path:
    """A path that nobody else has: ``<directory>/<kind>-<host>-<pid>-<random>.slices``."""
    return directory / f"{kind}-{files.unique_suffix()}.slices"


class SliceWriter:
    """A file of slices that is being written; use it as a context manager.

    It appears when the context ends without an error; else nothing of it is left. It holds what
    `add` is packing at the moment, one page of rows, `FLUSH_BYTES`, and of each kind small tables that
    will share a page.

    Parameters
    ----------
    path
        As of `new_path`; parent directories are made.
    kinds
        The tables that it may hold. Those that may be freed as cache lie in files of their own.
    """

    def __init__(self, path: Path, kinds: Sequence[type[Any]]) -> None:
        self.path = path
        self._kinds = list(kinds)
        self._pages = array("q")
        self._slices: list[Slices] = []
        self._held: list[bytes] = []
        self._held_bytes = self._end = 0
        self._small: dict[int, list[tuple[int, int, Any]]] = {}

    def __enter__(self) -> Self:
        self._writing = files.writing(self.path)
        self._file = self._writing.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as failed:
                self._writing.__exit__(type(failed), failed, failed.__traceback__)
                raise
            self._writing.__exit__(None, None, None)
            return
        given_up = _GivenUpError()  # what failed elsewhere isn't a failure to write
        try:
            self._writing.__exit__(_GivenUpError, given_up, None)
        except _GivenUpError:
            return

    @property
    def info(self) -> FileInfo:
        """Size and checksum of the whole file, once the context has ended."""
        return self._file.info

    def add(self, source: int, table: Any, to: int | Int64 = 0) -> dict[int, int]:
        """Add what a source leaves of one table.

        Parameters
        ----------
        source
            Number of a block or group.
        table
            One of the kinds; rows in any order.
        to
            Destination of all rows, or int64 (rows,): of each.

        Returns
        -------
        dict
            Rows by destination; for the record.

        Raises
        ------
        OutputError
            Disk full, quota, I/O error.
        """
        rows = _checked(table)
        number = self._kinds.index(type(table))
        order: Int64 | None = None
        if not isinstance(to, np.ndarray) and rows < SHARED_ROWS:
            return self._add_small(number, source, table, to)
        self._write_small(number)
        if isinstance(to, np.ndarray):
            order = np.argsort(to, kind="stable")
            places, begins = np.unique(to[order], return_index=True)
        else:
            places, begins = np.array([to])[:rows], np.zeros(min(rows, 1), np.int64)
        counts = np.diff(begins, append=rows)
        for page in _page_borders(begins, counts):
            self._add_page(number, source, table, order, page, places)
        return dict(zip(places.tolist(), counts.tolist(), strict=True))

    def _add_small(self, kind: int, source: int, table: Any, to: int) -> dict[int, int]:
        """Keep a table until there are enough rows of its kind for a page."""
        rows = table[0].size
        if not rows:
            return {}
        small = self._small.setdefault(kind, [])
        small.append((source, to, table))
        if sum(t[0].size for *_, t in small) >= SHARED_ROWS:
            self._write_small(kind)
        return {to: rows}

    def _write_small(self, kind: int) -> None:
        """What is kept of a kind goes before what is added after it."""
        small = self._small.pop(kind, [])
        if not small:
            return
        sources, places, tables = zip(*small, strict=True)
        counts = np.array([table[0].size for table in tables])
        columns = [np.concatenate(column) for column in zip(*tables, strict=True)]
        slices = Slices(
            np.full(counts.size, self._count, np.uint32),
            np.array(sources, np.int64),
            np.array(places, np.int64),
            (np.cumsum(counts) - counts).astype(np.uint32),
            counts.astype(np.uint32),
        )
        self._write_page(kind, columns, slices)

    def _add_page(
        self,
        kind: int,
        source: int,
        table: Any,
        order: Int64 | None,
        page: _Page,
        places: Int64,
    ) -> None:
        where = slice(page.begin, page.end) if order is None else order[page.begin : page.end]
        slices = Slices(
            np.full(page.begins.size, self._count, np.uint32),
            np.full(page.begins.size, source, np.int64),
            places[page.first : page.first + page.begins.size],
            page.begins.astype(np.uint32),
            np.diff(page.begins, append=page.end - page.begin).astype(np.uint32),
        )
        self._write_page(kind, [column[where] for column in table], slices)

    def _write_page(self, kind: int, columns: list[Column], slices: Slices) -> None:
        data = slice_pages.pack(columns)
        self._slices.append(slices)
        if len(self._slices) >= _TOGETHER:
            self._slices = [_joined(self._slices)]
        self._pages.extend((kind, self._end, len(data), zlib.crc32(data), columns[0].size))
        self._end += len(data)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= FLUSH_BYTES:
            self._flush()

    @property
    def _count(self) -> int:
        """Pages so far."""
        return len(self._pages) // len(Pages._fields)

    def _flush(self) -> None:
        held, self._held, self._held_bytes = self._held, [], 0
        try:
            self._file.write(b"".join(held))
        except OSError as error:
            raise files.writing_failed(self.path, error) from error

    def _finish(self) -> None:
        for kind in list(self._small):
            self._write_small(kind)
        columns = np.array(self._pages, np.int64).reshape(-1, len(Pages._fields)).T
        pages = Pages._make(c.astype(t) for c, t in zip(columns, dtypes(Pages), strict=True))
        kinds = {kind.__name__: columns_of(kind) for kind in self._kinds}
        index = Index(kinds, pages, _joined(self._slices))
        self._held.append(slice_pages.encode_index(index, self._end))
        self._flush()


def _joined(slices: Sequence[Slices]) -> Slices:
    none = Slices._make(np.zeros(0, dtype) for dtype in dtypes(Slices))
    return Slices._make(map(np.concatenate, zip(none, *slices, strict=True)))


class _GivenUpError(Exception):
    """The file isn't wanted any more."""


class _Page(NamedTuple):
    """Rows of a sorted table that make a page."""

    begin: int
    end: int
    first: int
    """The slice that its first row is in."""
    begins: Int64
    """First row in the page of each slice that it has something of."""


def _page_borders(begins: Int64, counts: Int64) -> Iterator[_Page]:
    """Cut slices into pages: large ones have their own, small ones that follow each other share one."""
    starts, rows = begins.tolist(), counts.tolist()
    first = 0
    while first < len(starts):
        begin = end = starts[first]
        if rows[first] >= SHARED_ROWS:
            end += rows[first]
            for part in range(begin, end, MOST_ROWS):
                yield _Page(part, min(part + MOST_ROWS, end), first, np.zeros(1, np.int64))
            first += 1
            continue
        last = first
        while last < len(starts) and rows[last] < SHARED_ROWS and end - begin < SHARED_ROWS:
            end += rows[last]
            last += 1
        yield _Page(begin, end, first, begins[first:last] - begin)
        first = last


def _checked(table: Any) -> int:
    """The rows of a table whose columns are as its annotations say."""
    kind = type(table)
    rows = {column.shape for column in table}
    if len(rows) != 1 or len(next(iter(rows))) != 1:
        raise ValueError(f"the columns of {kind.__name__} have shapes {rows}")
    if tuple(column.dtype for column in table) != dtypes(kind):
        raise TypeError(f"columns of {kind.__name__} don't have their dtypes")
    return int(table[0].size)
