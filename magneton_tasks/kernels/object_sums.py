"""What people want to know of objects, summed up over voxels: size, box, centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

#: What becomes of a column's values of one object, by how its name begins.
_REDUCE = {
    "id": np.minimum, "voxels": np.add, "low": np.minimum, "high": np.maximum, "sum": np.add
}  # fmt: skip


class ObjectSums(NamedTuple):
    """Of some objects, (n,) each, ids ascending; coordinates are voxels of the volume at mip 0."""

    id: NDArray[np.uint64]
    voxels: Int64
    low_z: Int64
    low_y: Int64
    low_x: Int64
    high_z: Int64
    """First plane after it."""
    high_y: Int64
    high_x: Int64
    sum_z: Int64
    """Of the coordinates of its voxels, counted from the volume's begin."""
    sum_y: Int64
    sum_x: Int64


def merged(parts: Sequence[ObjectSums]) -> ObjectSums:
    """Sums of parts of objects -> of whole objects."""
    columns = ObjectSums._make(np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(columns.id, kind="stable")
    ids = columns.id[order]
    begins = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: ids.size])
    if not begins.size:
        return columns
    reduced = (
        _REDUCE[name.partition("_")[0]].reduceat(column[order], begins)
        for name, column in columns._asdict().items()
    )
    return ObjectSums._make(reduced)


def none() -> ObjectSums:
    """Of no objects."""
    columns = (np.zeros(0, np.uint64), *[np.zeros(0, np.int64)] * 10)
    return ObjectSums._make(columns)
