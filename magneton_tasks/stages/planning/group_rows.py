"""Rows that the groups of a round read, for any way to cut the blocks into groups.

What is counted by block lies in a table of sums over all boxes that begin at block 0, so that the groups of
one way are eight look-ups each, however many blocks they have.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.work.record import Info, Record

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
    tables = ("regions", "edges", "basins")
    counts = _by_block(
        grid.shape, blocks, lambda info: [info.get("rows", {}).get(table, 0) for table in tables]
    )
    own = dict(zip(tables, map(_sums, counts), strict=True))
    undecided, *contacts = map(_sums, _by_block(grid.shape, faces, _of_faces))

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


class SentRows(NamedTuple):
    """What groups of a round sent to fine groups, (n,) each, by ascending destination."""

    sender: Int64
    to: Int64
    rows: Int64
    """Regions and half-edges."""

    @classmethod
    def of(cls, records: Mapping[int, Record]) -> SentRows:
        """From the records of a round."""
        columns = array("q"), array("q"), array("q")
        for key, record in records.items():
            for to, rows in record.info.get("sent", {}).items():
                for column, value in zip(columns, (key, int(to), sum(rows)), strict=True):
                    column.append(value)
        found = cls._make(np.array(column, np.int64) for column in columns)
        order = np.argsort(found.to, kind="stable")
        return cls._make(column[order] for column in found)

    def at(self, fine: Sequence[int]) -> SentRows:
        """What was sent to some fine groups."""
        ends = (np.searchsorted(self.to, fine, side=side) for side in ("left", "right"))
        mine = [np.arange(begin, end) for begin, end in zip(*ends, strict=True)]
        rows = np.concatenate([np.zeros(0, np.int64), *mine])
        return SentRows._make(column[rows] for column in self)


def undecided_rows(told: Mapping[str, int]) -> int:
    """Rows about basins that the faces of a block couldn't decide, of the rows in its record."""
    return told.get("parts", 0) + told.get("pairs", 0)


def _of_faces(info: Info) -> list[int]:
    """Rows about undecided basins, and contacts along each axis."""
    contacts = info.get("contacts", {})
    return [
        undecided_rows(info.get("rows", {})),
        *(contacts.get(str(axis), 0) for axis in range(3)),
    ]


def _by_block(
    shape: Vec3, records: Mapping[int, Record], count: Callable[[Info], list[int]]
) -> Int64:
    """Some counts of each block, int64 (counts, z, y, x); each record is looked at once."""
    told = np.array([count(record.info) for record in records.values()], np.int64)
    counts = np.zeros((told.shape[1], prod(shape)), np.int64)
    counts[:, list(records)] = told.T
    return counts.reshape(-1, *shape)


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
