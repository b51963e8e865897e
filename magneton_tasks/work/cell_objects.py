"""What apply leaves of the objects of each cell: a table, from which verify makes those of the volume."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import CorruptFileError, NotVisibleError
from magneton_tasks.kernels.object_sums import ObjectSums
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.slice_writer import SliceWriter
from magneton_tasks.work.slices import read_all

#: What the file is called in records of apply.
OBJECTS = "objects"


def path_of(attempt: Attempt, key: int) -> Path:
    """Of a cell."""
    return attempt.stage_dir("apply") / "objects" / f"{key}.slices"


def write(attempt: Attempt, key: int, sums: ObjectSums) -> FileInfo:
    """Write the table of a cell, over that of an earlier result.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    with SliceWriter(path_of(attempt, key), [ObjectSums]) as writer:
        writer.add(key, sums)
    return writer.info


def has_table(record: Record) -> bool:
    """Whether a cell left one; those of earlier releases didn't."""
    return OBJECTS in record.files


def read(attempt: Attempt, records: Iterable[tuple[int, Record]]) -> list[ObjectSums]:
    """The tables of some cells.

    Raises
    ------
    NotVisibleError, CorruptFileError
        One isn't there, or is damaged: its cell is invalidated, so that the rerun writes it again.
    """
    found = []
    for key, record in records:
        path = path_of(attempt, key)
        try:
            found += read_all({path: record.files[OBJECTS]}, [ObjectSums], attempt.wait_s)
        except (NotVisibleError, CorruptFileError) as error:
            attempt.invalidate("apply", {key: error.what})
            raise
    return found
