"""What a shard holds, object by object: so the next run can take over those that didn't change."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import CorruptFileError, NotVisibleError
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.slice_writer import SliceWriter
from magneton_tasks.work.slices import read_all

#: What the file is called in records.
OBJECTS = "objects"
#: As many figures of a maker are kept of each object.
MOST_FIGURES = 2


class ShardObjects(NamedTuple):
    """Of the objects of a shard, (n,) each, ids ascending."""

    id: NDArray[np.uint64]
    digest: NDArray[np.uint64]
    """Of the pieces that it was joined of."""
    begin: NDArray[np.int64]
    """Of its bytes in the shard, with what stands before its value."""
    before: NDArray[np.int64]
    size: NDArray[np.int64]
    """Of its value, as stored."""
    first: NDArray[np.int64]
    """The maker's figures, by name."""
    second: NDArray[np.int64]


def path_of(attempt: Attempt, stage: str, shard: int) -> Path:
    """Of a shard."""
    return attempt.stage_dir(stage) / "objects" / f"{shard}.slices"


def write(attempt: Attempt, stage: str, shard: int, objects: ShardObjects) -> FileInfo:
    """Write the table of a shard, over that of an earlier result.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    with SliceWriter(path_of(attempt, stage, shard), [ShardObjects]) as writer:
        writer.add(shard, objects)
    return writer.info


def read(attempt: Attempt, stage: str, shard: int, record: Record) -> ShardObjects | None:
    """What a shard holds; None: nothing tells any more, so all of it has to be joined."""
    info = record.files.get(OBJECTS)
    if info is None:
        return None
    try:
        found: list[ShardObjects] = read_all(
            {path_of(attempt, stage, shard): info}, [ShardObjects], 0.0
        )
    except (NotVisibleError, CorruptFileError):
        return None
    return found[0]
