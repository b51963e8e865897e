"""The object of each supervoxel at a threshold: names downwards through the rounds.

::

    supervoxel --up--> top in its block --whole at the threshold?--> region's name
                             | no: done                                   |
                             v                                            v
                       the top's own name    <--- no ---   row in the names of round 0, up to its top
                                                           whole, and open? on to round 1, ...

A set whose lowest merge inside scores less than the threshold isn't whole: what joins it later
joins at lower scores still, so what was reached is final.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import UInt32
from magneton_tasks.kernels.exact.rounds.look_up import locate
from magneton_tasks.kernels.exact.rounds.records import tops
from magneton_tasks.kernels.exact.rounds.tables import (
    Int64,
    Mask,
    Names,
    heads_of,
    names_of,
)


class Supervoxels(NamedTuple):
    """Of one block, (n + 1,) each; index 0 stands for the background."""

    region: UInt32
    """Which region each is in, at the lowest threshold; open regions are numbered first."""
    up: UInt32
    score: UInt32
    """As `records.Forest`."""


class CutBlock(NamedTuple):
    """Of a block's supervoxels, (supervoxels + 1,) each; index 0 stands for the background."""

    objects: Int64
    """Names of their objects, that of its smallest supervoxel."""
    voxels: Int64
    """Of their objects."""


class Group(NamedTuple):
    """A round's tasks, as a cut needs them."""

    task_of: Callable[[Int64], Int64]
    """From blocks to tasks."""
    names: Callable[[int], Names]
    """Reads a task's names; one is held at a time."""


def cut_blocks(
    blocks: Iterable[tuple[int, Supervoxels, Int64, int]],
    rounds: Sequence[Group],
    least_score: int,
) -> list[CutBlock]:
    """Objects of the supervoxels of some blocks.

    Blocks of one group of round 0 follow their names through that round by themselves; what goes on is
    followed through the rounds after it for all blocks at once, so each table is opened once.

    Parameters
    ----------
    blocks
        (number, supervoxels, their voxels (supervoxels + 1,), open regions) of each: regions 1..open
        of it go into round 0. Those of one group lie together. One is held at a time.
    rounds
        All rounds, from 0.
    least_score
        The threshold, `ExactSettings.least_score`; at least that of the run.

    Returns
    -------
    list of CutBlock
        Of each block.

    Raises
    ------
    BadDataError
        If a region isn't among the names of the task that had it.
    """
    starts, goes_on, count = list[_Start](), list[_Names](), 0
    for task, some in groupby(blocks, lambda block: _first_task(rounds, block[0])):
        begun = [_Start.of(*block, least_score) for block in some]
        names = _in_first_round(begun, rounds[0], task, count, least_score)
        starts += [start for start, _ in begun]
        goes_on.append(names)
        count += names.name.size
    objects, voxels = _follow(_Names.joined(goes_on), rounds, least_score)
    for start in starts:
        start.objects[start.goes_on] = objects[start.which]
        start.voxels[start.goes_on] = voxels[start.which]
    return [CutBlock(start.objects, start.voxels) for start in starts]


def _first_task(rounds: Sequence[Group], block: int) -> int:
    return int(rounds[0].task_of(np.array([block]))[0])


class _Start(NamedTuple):
    """A block's supervoxels, as far as the block itself knows, or round 0."""

    objects: Int64
    voxels: Int64
    goes_on: Mask
    which: UInt32
    """(supervoxels that go on,): indices of the names that are followed next."""

    @classmethod
    def of(
        cls, number: int, table: Supervoxels, sizes: Int64, opens: int, least_score: int
    ) -> tuple[_Start, Int64]:
        """With the names of the regions that go into round 0."""
        top, voxels = _tops_and_sizes(table.up, table.score, sizes, least_score)
        objects = names_of(number, top)
        objects[0] = 0
        goes_on, which, regions = _whole_regions(*table, opens, least_score)
        return cls(objects, voxels[top], goes_on, which), names_of(number, regions)


class _Names(NamedTuple):
    """Of sets that go on, ascending within a group, each once."""

    name: Int64
    at: UInt32
    """A block of the group where each does."""

    @classmethod
    def joined(cls, parts: list[_Names]) -> _Names:
        """Empties the list."""
        parts.append(cls(np.zeros(0, np.int64), np.zeros(0, np.uint32)))
        found = cls._make(np.concatenate(column) for column in zip(*parts, strict=True))
        parts.clear()
        return found


class _Found(NamedTuple):
    """What a round tells of names, (n,) each."""

    objects: Int64
    voxels: Int64
    new: Int64
    at: UInt32
    goes_on: Mask

    def distinct(self) -> tuple[_Names, Int64, UInt32]:
        """The names that go on, each once; which rows do; and where each of these is among them."""
        rows = np.flatnonzero(self.goes_on)
        names, firsts, which = np.unique(self.new[rows], return_index=True, return_inverse=True)
        return _Names(names, self.at[rows[firsts]]), rows, which.astype(np.uint32)


@njit(nogil=True)
def _whole_regions(
    region: UInt32, up: UInt32, score: UInt32, opens: int, least_score: int
) -> tuple[Mask, UInt32, Int64]:
    """Which supervoxels go on, in which of the open regions that are whole; and these, ascending."""
    goes_on = np.zeros(opens + 1, np.bool_)
    in_open = np.zeros(region.size, np.bool_)
    for k in range(1, region.size):
        in_open[k] = 0 < region[k] <= opens
        if in_open[k]:
            goes_on[region[k]] = True
    for k in range(1, region.size):
        if in_open[k] and up[k] != k and score[k] < least_score:
            goes_on[region[k]] = False
    regions = np.flatnonzero(goes_on)
    numbers = np.zeros(opens + 1, np.uint32)
    for i in range(regions.size):
        numbers[regions[i]] = i
    count = 0
    which = np.empty(region.size, np.uint32)
    for k in range(1, region.size):
        in_open[k] = in_open[k] and goes_on[region[k]]
        if in_open[k]:
            which[count] = numbers[region[k]]
            count += 1
    return in_open, which[:count].copy(), regions


@njit(nogil=True)
def _tops_and_sizes(
    up: UInt32, score: UInt32, sizes: Int64, least_score: int
) -> tuple[Int64, Int64]:
    """Of each row where the way up ends, see `records.tops`; and by these ends what sizes add up to."""
    top = tops(up, score, least_score, np.arange(up.size))
    total = np.zeros(up.size, np.int64)
    for row in range(up.size):
        total[top[row]] += sizes[row]
    return top, total


def _in_first_round(
    begun: list[tuple[_Start, Int64]], first: Group, task: int, count: int, least_score: int
) -> _Names:
    """What goes on of blocks of one group; ``begun`` gets what is known then.

    ``count``: names that go on of groups before.
    """
    names = np.concatenate([names for _, names in begun])
    if not names.size:
        return _Names(names, names.astype(np.uint32))
    found = _looked_up(names, first, 0, task, least_score)
    goes_on, rows, which = found.distinct()
    numbers = np.zeros(names.size, np.uint32)
    numbers[rows] = which + np.uint32(count)
    begin = 0
    for k, (start, mine) in enumerate(begun):
        row = begin + start.which.astype(np.int64)
        start.objects[start.goes_on] = found.objects[row]
        start.voxels[start.goes_on] = found.voxels[row]
        further = found.goes_on[row]
        start.goes_on[start.goes_on] = further
        begun[k] = start._replace(which=numbers[row[further]]), mine[:0]
        begin += mine.size
    return goes_on


def _follow(names: _Names, rounds: Sequence[Group], least_score: int) -> tuple[Int64, Int64]:
    """The object of each set that goes on into round 1 and its voxels, round by round."""
    levels = list[tuple[Int64, Int64, Int64, UInt32]]()
    for number, group in enumerate(rounds[1:], 1):
        if not names.name.size:
            break
        found = _in_round(names, group, number, least_score)
        names, rows, which = found.distinct()
        levels.append((found.objects, found.voxels, rows, which))
    if names.name.size:
        raise BadDataError(f"{names.name.size} regions are open after the last round")
    further = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for objects, voxels, rows, which in reversed(levels):
        objects[rows], voxels[rows] = (column[which] for column in further)
        further = objects, voxels
    return further


def _in_round(names: _Names, group: Group, number: int, least_score: int) -> _Found:
    """What a round tells of names, task by task."""
    n = names.name.size
    objects, voxels, new = (np.empty(n, np.int64) for _ in range(3))
    at, goes_on = np.empty(n, np.uint32), np.empty(n, np.bool_)
    owner = group.task_of(names.at.astype(np.int64))
    order = np.argsort(owner, kind="stable")
    tasks, begins = np.unique(owner[order], return_index=True)
    for task, mine in zip(tasks.tolist(), np.split(order, begins[1:]), strict=True):
        told = _looked_up(names.name[mine], group, number, task, least_score)
        objects[mine], voxels[mine], new[mine] = told.objects, told.voxels, told.new
        at[mine], goes_on[mine] = told.at, told.goes_on
    return _Found(objects, voxels, new, at, goes_on)


def _looked_up(names: Int64, group: Group, number: int, task: int, least_score: int) -> _Found:
    table = group.names(task)
    row, is_there = locate(table.old, names)
    if not is_there.all():
        raise BadDataError(
            f"a region isn't among the names of group {task} of round {number}",
            "the tables are of different runs: plan again",
        )
    whole = np.where(table.own_low >= least_score, table.own_size, 0)
    up = heads_of(table.score).astype(np.uint32)[table.up]
    top, total = _tops_and_sizes(up, table.score, whole, least_score)
    goes_on = table.open[row] & (table.low[row] >= least_score)
    top = top[row]
    return _Found(table.least[top], total[top], table.new[row], table.at[row], goes_on)
