"""How this project writes and reads Parquet: tables of integers, compact, with checksums.

A column is stored as a byte stream split (all first bytes, then all second ones, ...), as the
differences of its values where they mostly rise, or by a dictionary where few values repeat; then
zstd at level 1. Each page has a checksum, which reading verifies.

Measured on 2 million made-up pairs (CPU us per row to write, to read, and bytes per row): byte stream
split .10 / .05 / 10.2; dictionaries .17 / .05 / 11.4; deltas .13 / .10 / 11.5; plain .22 / .09 / 12.7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError

Column = npt.NDArray[Any]
Columns = dict[str, Column]

#: Rows of a row group.
ROW_GROUP = 1 << 18


def encode(
    groups: Iterable[Mapping[str, Column]],
    *,
    metadata: dict[bytes, bytes] | None = None,
    rising: Collection[str] = (),
    few: Collection[str] = (),
    compression: str = "zstd",
) -> memoryview:
    """Columns as the bytes of a Parquet file; holds these, and one row group.

    Parameters
    ----------
    groups
        Row groups, at least one: columns of integers or bool, each (rows,).
    metadata
        Of the file.
    rising, few
        Columns whose values mostly rise, and columns of few different values.
    compression
        ``zstd``, or ``lz4``: some 20 % larger, and read in half the time.
    """
    waiting = iter(groups)
    first = next(waiting)
    types = {name: pa.from_numpy_dtype(column.dtype) for name, column in first.items()}
    schema = pa.schema([pa.field(name, t, nullable=False) for name, t in types.items()], metadata)
    encodings = {
        name: "DELTA_BINARY_PACKED" if name in rising else "BYTE_STREAM_SPLIT"
        for name, t in types.items()
        if t.bit_width >= 32 and name not in few
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        compression_level=1 if compression == "zstd" else None,
        use_dictionary=[name for name in types if name in few],
        column_encoding=encodings,
        write_statistics=False,
        write_page_checksum=True,
    ) as writer:
        for group in chain([first], waiting):
            columns = [pa.array(column) for column in group.values()]
            table = pa.Table.from_arrays(columns, schema=schema)
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    return memoryview(sink.getvalue())


def sliced(columns: Mapping[str, Column], rows: int = ROW_GROUP) -> Iterator[Columns]:
    """A table, a number of rows at a time, as views; one without rows once."""
    n = len(next(iter(columns.values())))
    for begin in range(0, max(n, 1), rows):
        yield {name: column[begin : begin + rows] for name, column in columns.items()}


def joined(parts: list[Column]) -> Column:
    """Columns of uint32, one after the other; none where there are no parts."""
    return np.concatenate([np.zeros(0, np.uint32), *parts]).astype(np.uint32, copy=False)


def write(
    path: Path,
    columns: Mapping[str, Column],
    rows: int = ROW_GROUP,
    metadata: dict[bytes, bytes] | None = None,
) -> FileInfo:
    """Write a table whose rows come block by block, atomically.

    Parameters
    ----------
    rows
        Of a row group.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    blocks = [name for name in columns if name.startswith("block")]
    return files.write_atomic(
        path,
        encode(sliced(columns, rows), metadata=metadata, few=blocks),
        is_ours=True,
    )


def from_bytes(data: bytes) -> Any:
    """The bytes of a Parquet file, as pyarrow's ParquetFile; call it inside `told`."""
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)


@contextmanager
def opened(path: Path, known: Any = None) -> Iterator[Any]:
    """A file, as pyarrow's ParquetFile; ``known``: its metadata, where they were read before.

    Raises
    ------
    NotVisibleError, CorruptFileError, OutputError
        As `told`, of whatever is done with it.
    """
    with told(path), files.open_read(path) as file:
        yield pq.ParquetFile(file, metadata=known, page_checksum_verification=True)


def read(table: Any, groups: Iterable[int], columns: Sequence[str] | None = None) -> Columns:
    """Columns of some row groups of a ParquetFile; arrays may be read-only."""
    names = list(columns) if columns is not None else None
    found = table.read_row_groups(list(groups), columns=names, use_threads=False)
    return {name: found.column(name).to_numpy() for name in found.column_names}


@cache
def reserve() -> None:
    """Have Arrow reserve what it does at its first use: over a GiB of addresses, hardly any memory.

    A limit on what a process allocates counts them, if they are reserved after it was set.
    """
    read(from_bytes(bytes(encode([{"none": np.zeros(1, np.uint32)}]))), [0])


def give_back() -> None:
    """Return to the system what Arrow keeps of what was read, for reading more."""
    pa.default_memory_pool().release_unused()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Whatever a file's bytes lead to becomes an error of ours.

    Raises
    ------
    NotVisibleError
        The file isn't there.
    CorruptFileError
        It is damaged.
    OutputError
        The file system failed.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotVisibleError(f"{path} has just gone", "rerun") from error
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        # Arrow tells of damage by OSErrors without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise OutputError(
                f"can't read {path}: {error.strerror}", "fix it, then rerun"
            ) from error
        raise corrupt(path, str(error)) from error


def require_sound(path: Path, info: FileInfo) -> None:
    """Read a file and compare its checksum.

    Raises
    ------
    CorruptFileError
        Its bytes aren't those that were written.
    OutputError
        The file isn't there, or the file system failed.
    """
    if files.stat_size(path) != info.size or files.crc32_of(path) != info.crc32:
        raise corrupt(path, "its checksum isn't that of its record")


def corrupt(path: Path, what: object) -> CorruptFileError:
    """The error for a file whose bytes aren't what they should be."""
    return CorruptFileError(
        f"{path} is damaged ({what})", "rerun: what the file held is computed again"
    )
