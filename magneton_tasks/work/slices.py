"""What tasks of faces, rounds and cut hand to others: tables in slices, those of many in one file.

A *slice* is the rows of one table that one *source* (a block, a face's block, a group) leaves for one
*destination* (a block or a fine group; 0 where whoever reads wants all of it). Whoever reads asks
for sources or destinations, and only their slices are read.

Each file has a name of its own, is never changed, and appears whole or not at all. A record names
it, and tells its size and CRC-32. Each part of it that is read at once has a CRC-32 in the index,
which reading compares; so has the index.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo

Int64 = NDArray[np.int64]
#: A NamedTuple of columns, each (rows,).
Table = TypeVar("Table", bound=NamedTuple)

#: Slices are held up to this many bytes, then written.
FLUSH_BYTES = 256 << 20


class SliceWriter:
    """A file of slices that is being written; use it as a context manager.

    Parameters
    ----------
    path
        Where it will appear when the context ends without an error; parent directories are made.
        See `new_path`.
    kinds
        The tables that it may hold: those that may be freed as cache lie in files of their own.
    """

    def __init__(self, path: Path, kinds: Sequence[type[Any]], flush_bytes: int = FLUSH_BYTES) -> None:
        raise NotImplementedError

    def add(self, source: int, table: Any, to: int | Int64 = 0) -> dict[int, int]:
        """Add what a source leaves of one table.

        Parameters
        ----------
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
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the file in its place; after an error nothing is left."""
        raise NotImplementedError

    @property
    def info(self) -> FileInfo:
        """Size and checksum of the whole file, once the context has ended."""
        raise NotImplementedError


class SliceFile:
    """A file of slices that is read; `opened` opens it."""

    def read(
        self,
        kind: type[Table],
        *,
        sources: Collection[int] | None = None,
        to: Collection[int] | None = None,
    ) -> Table:
        """The rows of a table from some sources (None: all) for some destinations (None: all).

        They come by destination, then by source, then as they were added.

        Raises
        ------
        CorruptFileError
            What is read of the file is damaged.
        OutputError
            The file system failed.
        """
        raise NotImplementedError

    def rows(self, kind: type[Any]) -> dict[tuple[int, int], int]:
        """How many rows of a table there are by (source, destination)."""
        raise NotImplementedError


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
    """
    raise NotImplementedError
    yield


def new_path(directory: Path, kind: str) -> Path:
    """A path that nobody else has: ``<directory>/<kind>-<host>-<pid>-<random>.slices``."""
    raise NotImplementedError
