"""``magneton-files.parquet`` beside the output's owner: every file of a result, with size and checksum.

It is what a later run goes by that replaces the result: nothing else is ever removed there. Its rows
are sorted by name (bytes of UTF-8), so that two lists are compared as they are read. Any number of
files takes some 64 MiB: they are sorted in a temporary database, which grows into a file in TMPDIR.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from magneton_tasks.base.failures import FREE_SPACE
from magneton_tasks.errors import CorruptFileError, OutputError
from magneton_tasks.formats.listed import LIST_FILE, Listed
from magneton_tasks.formats.objects import Objects, Sink
from magneton_tasks.work import parquet

#: In the file's metadata: whose files they are, see `stages.replaced_files`.
_OF = b"magneton.of"
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("crc32", pa.uint32()),
    ]
)
#: Rows of a row group, and rows that are read at a time.
_ROWS = 1 << 16
#: KiB of a database that are held in memory.
_CACHE_KIB = 1 << 16


# ------------------------------------------------------------------ sorting
class Sorted:
    """Files in any number, given in any order and back by name; of one name what was added last.

    Raises
    ------
    OutputError
        The disk of TMPDIR is full, or fails.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a temporary file of no name
        for pragma in (f"cache_size=-{_CACHE_KIB}", "journal_mode=off", "synchronous=off"):
            self._db.execute(f"pragma {pragma}")
        self._db.execute("begin")  # else each row is a transaction
        self._db.execute("create table added (name text, size integer, crc32 integer)")
        self._is_sorted = False

    def __enter__(self) -> Sorted:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, files: Iterable[Listed]) -> None:
        """Take more of them, before the first are asked for."""
        assert not self._is_sorted
        with _sorting():
            self._db.executemany("insert into added values (?, ?, ?)", files)

    def __iter__(self) -> Iterator[Listed]:
        with _sorting():
            if not self._is_sorted:
                self._db.execute(
                    "create table sorted as select name, size, crc32 from added order by name, rowid"
                )
                self._db.execute("drop table added")
                self._is_sorted = True
            last: Listed | None = None
            for row in self._db.execute("select name, size, crc32 from sorted order by rowid"):
                file = Listed._make(row)
                if last is not None and last.name != file.name:
                    yield last
                last = file
            if last is not None:
                yield last


@contextmanager
def _sorting() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"the output's files can't be sorted in a temporary file: {error}",
            f"{FREE_SPACE} where TMPDIR leads, or set TMPDIR to another directory, then rerun",
        ) from error


class Comparison:
    """What a list had that another one lacks; both by name.

    Attributes
    ----------
    is_same
        Whether both hold the same rows; known once `gone` has come to its end.
    """

    def __init__(self) -> None:
        self.is_same = True

    def gone(self, before: Iterable[Listed], now: Iterable[Listed]) -> Iterator[Listed]:
        """The files of ``before`` whose names aren't among those of ``now``."""
        others = iter(now)
        other = next(others, None)
        for file in before:
            while other is not None and other.name < file.name:
                self.is_same = False
                other = next(others, None)
            if other is None or other.name != file.name:
                self.is_same = False
                yield file
                continue
            self.is_same &= file == other
            other = next(others, None)
        self.is_same &= other is None


# ------------------------------------------------------------------ the file
class _Writable(io.RawIOBase):
    """A sink, as pyarrow takes it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._sink.write(piece)
        return len(piece)


def write(objects: Objects, files: Iterable[Listed], of: str) -> int:
    """Write the list, atomically; returns how many files it has.

    Parameters
    ----------
    files
        By name, each once.
    of
        Whose files they are.

    Raises
    ------
    OutputError, TemporaryError
        Disk full, quota, I/O error; the connection failed. The list that was there stays.
    """
    count, schema = 0, _SCHEMA.with_metadata({_OF: of.encode()})
    with (
        objects.writing(LIST_FILE) as sink,
        pq.ParquetWriter(
            pa.PythonFile(_Writable(sink), mode="w"),
            schema,
            compression="zstd",
            use_dictionary=False,
            column_encoding={"name": "DELTA_BYTE_ARRAY", "size": "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        ) as writer,
    ):
        waiting = iter(files)
        while rows := list(islice(waiting, _ROWS)):
            columns = [
                pa.array(column, field.type)
                for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=_ROWS)
            count += len(rows)
    objects.sync_directory()
    return count


@contextmanager
def _opened(objects: Objects) -> Iterator[Any]:
    """The list as pyarrow's ParquetFile; None: there is none."""
    if objects.is_local:
        path = objects.path(LIST_FILE)
        if not path.is_file():
            yield None
            return
        with parquet.opened(path) as file:
            yield file
        return
    data = objects.get(LIST_FILE)
    if data is None:
        yield None
        return
    try:
        yield parquet.from_bytes(data)
    except pa.ArrowException as error:
        raise parquet.corrupt(Path(LIST_FILE), str(error)) from error


def whose(objects: Objects) -> str | None:
    """Whose files the list has; None: there is none, or it is damaged."""
    try:
        with _opened(objects) as file:
            return None if file is None else _of(file)
    except CorruptFileError:
        return None


def _of(file: Any) -> str:
    told = (file.metadata.metadata or {}).get(_OF, b"")
    return str(told.decode("utf-8", "replace"))


def read(objects: Objects) -> Iterator[Listed]:
    """The files of the list, by name; none where there is no list.

    Raises
    ------
    CorruptFileError
        It is damaged.
    OutputError, TemporaryError
        The file system, or the connection, failed.
    """
    with _opened(objects) as file:
        for batch in () if file is None else file.iter_batches(_ROWS, use_threads=False):
            yield from map(
                Listed._make,
                zip(*(batch.column(name).to_pylist() for name in Listed._fields), strict=True),
            )
