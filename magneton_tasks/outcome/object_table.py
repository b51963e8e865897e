"""Looks up single objects in the table of all that lies beside a segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from magneton_tasks.formats.objects import Objects
from magneton_tasks.stages.object_list import TABLE
from magneton_tasks.work import parquet


def um3_of(objects: Objects, ids: Sequence[int]) -> dict[int, float] | None:
    """The volumes in um^3 of those of the ids that are objects; None: there is no table.

    Raises
    ------
    CorruptFileError, OutputError, TemporaryError
        The table is damaged, or can't be read.
    """
    with _table(objects) as table:
        if table is None:
            return None
        found: dict[int, float] = {}
        for group in range(table.num_row_groups):
            columns = parquet.read(table, [group], ["id", "um3"])
            at = np.flatnonzero(np.isin(columns["id"], np.array(ids, np.uint64)))
            some = columns["id"][at].tolist(), columns["um3"][at].tolist()
            found |= dict(zip(*some, strict=True))
        return found


@contextmanager
def _table(objects: Objects) -> Iterator[Any]:
    """As pyarrow's ParquetFile."""
    path = objects.path(TABLE) if objects.is_local else None
    if path is not None and path.is_file():
        with parquet.opened(path) as table:
            yield table
        return
    data = None if path is not None else objects.get(TABLE)
    if data is None:
        yield None
        return
    with parquet.told(Path(objects.location.name_of(TABLE))):
        yield parquet.from_bytes(data)
