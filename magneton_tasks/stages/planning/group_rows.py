"""Rows that the groups of a round read, for any way to cut the blocks into groups.

What is counted by block lies in a table of sums over all boxes that begin at block 0, so that the groups of
one way are eight look-ups each, however many blocks they have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.work.record import Record

Int64 = NDArray[np.int64]
#: The rows of each group, int64 (z, y, x) of groups.
RowsOf = Callable[[Groups], Int64]
#: Of one axis: where each group begins, and ends.
_Ends = tuple[Int64, Int64]


def sent_rows(fine: Groups, sent: Mapping[int, int]) -> RowsOf:
    """Of a later round; ``sent``: rows by fine group, of which the groups are made."""
    counts = np.zeros(len(fine), np.int64)
    counts[list(sent)] = list(sent.values())
    sums = _sums(counts.reshape(fine.shape))

    def of(groups: Groups) -> Int64:
        places = (np.searchsorted(f, c) for f, c in zip(fine.cuts, groups.cuts, strict=True))
        return _in_boxes(sums, [(at[:-1], at[1:]) for at in places])

    return of


def first_rows(
    grid: Grid, reach: int, blocks: Mapping[int, Record], faces: Mapping[int, Record]
) -> RowsOf:
    """Of round 0, as `cost_exact.first_rows` counts.

    Parameters
    ----------
    grid
        Of the blocks.
    reach
        Voxels around a group within which undecided basins are read.
    blocks, faces
        Records of all blocks, of segment and faces.
    """
    own = {
        table: _sums(_by_block(grid.shape, blocks, lambda told, t=table: told.get(t, 0)))  # type: ignore[misc]
        for table in ("regions", "edges", "basins")
    }
    undecided = _sums(_by_block(grid.shape, faces, undecided_rows))
    contacts = [_sums(_contacts(grid.shape, faces, axis)) for axis in range(3)]

    def of(groups: Groups) -> Int64:
        ends = [(np.array(c[:-1]), np.array(c[1:])) for c in groups.cuts]
        rows = {table: _in_boxes(sums, ends) for table, sums in own.items()}
        rows["undecided"] = _in_boxes(undecided, _near(grid, ends, reach))
        rows["contacts"] = sum(
            (_in_boxes(sums, _with_low_faces(ends, axis)) for axis, sums in enumerate(contacts)),
            np.zeros(groups.shape, np.int64),
        )
        each = cost_exact.first_bytes(alone=len(groups) == 1)
        taken = sum((each[t] * n for t, n in rows.items()), np.zeros(groups.shape, np.int64))
        return -(-taken // cost_exact.ROUND_BYTES_PER_ROW)

    return of


def undecided_rows(told: Mapping[str, int]) -> int:
    """Rows about basins that the faces of a block couldn't decide, of the rows in its record."""
    return told.get("parts", 0) + told.get("pairs", 0)


def _by_block(
    shape: Vec3, records: Mapping[int, Record], count: Callable[[Mapping[str, int]], int]
) -> Int64:
    counts = np.zeros(shape, np.int64)
    for key, record in records.items():
        counts.flat[key] = count(record.info.get("rows", {}))
    return counts


def _contacts(shape: Vec3, faces: Mapping[int, Record], axis: int) -> Int64:
    counts = np.zeros(shape, np.int64)
    for key, record in faces.items():
        counts.flat[key] = record.info.get("contacts", {}).get(str(axis), 0)
    return counts


# ------------------------------------------------------------------ boxes of blocks
def _with_low_faces(ends: Sequence[_Ends], axis: int) -> list[_Ends]:
    """With the blocks before groups, whose high faces are theirs."""
    return [(np.maximum(low - (a == axis), 0), high) for a, (low, high) in enumerate(ends)]


def _near(grid: Grid, ends: Sequence[_Ends], reach: int) -> list[_Ends]:
    """All blocks within so many voxels, and those before them, whose high faces are read as well."""
    found = []
    for cuts, (low, high) in zip(map(np.array, grid.cuts), ends, strict=True):
        first = np.searchsorted(cuts[1:], cuts[low] - reach, side="right") - 1
        behind = np.searchsorted(cuts[:-1], cuts[high] + reach, side="left")
        found.append((np.maximum(first, 0), behind))
    return found


def _sums(counts: Int64) -> Int64:
    """Of all boxes that begin at 0: one row more along each axis."""
    sums = np.zeros([n + 1 for n in counts.shape], np.int64)
    sums[1:, 1:, 1:] = counts.cumsum(0).cumsum(1).cumsum(2)
    return sums


def _in_boxes(sums: Int64, ends: Sequence[_Ends]) -> Int64:
    """Of all boxes that some ranges along each axis make."""
    for axis, (low, high) in enumerate(ends):
        sums = sums.take(high, axis) - sums.take(low, axis)
    return sums
