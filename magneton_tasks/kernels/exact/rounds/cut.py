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
    blocks_of,
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

    Parameters
    ----------
    blocks
        (number, supervoxels, their voxels (supervoxels + 1,), open regions) of each: regions 1..open
        of it go into round 0. One is held at a time.
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
    starts = [_Start.of(*block, least_score) for block in blocks]
    none = np.zeros(0, np.int64)
    names = np.concatenate([none, *(start.names for start in starts)])
    objects, voxels = _follow(names, blocks_of(names), rounds, least_score)
    begin = 0
    for start in starts:
        end = begin + start.names.size
        start.objects[start.goes_on] = objects[begin:end][start.which]
        start.voxels[start.goes_on] = voxels[begin:end][start.which]
        begin = end
    return [CutBlock(start.objects, start.voxels) for start in starts]


class _Start(NamedTuple):
    """A block's supervoxels, as far as the block itself knows."""

    objects: Int64
    voxels: Int64
    goes_on: Mask
    which: UInt32
    """(supervoxels that go on,): indices of ``names``."""
    names: Int64
    """Of the regions that they are in."""

    @classmethod
    def of(
        cls, number: int, table: Supervoxels, sizes: Int64, opens: int, least_score: int
    ) -> _Start:
        top, voxels = _tops_and_sizes(table.up, table.score, sizes, least_score)
        objects = names_of(number, top)
        objects[0] = 0
        goes_on, which, regions = _whole_regions(*table, opens, least_score)
        return cls(objects, voxels[top], goes_on, which, names_of(number, regions))


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


def _follow(
    names: Int64, at: Int64, rounds: Sequence[Group], least_score: int
) -> tuple[Int64, Int64]:
    """The object of each region and its voxels, round by round."""
    names, objects = names.copy(), np.zeros(names.size, np.int64)
    voxels = np.zeros(names.size, np.int64)
    left = np.arange(names.size)
    for number, group in enumerate(rounds):
        if not left.size:
            break
        owner = group.task_of(at[left])
        on = np.zeros(left.size, np.bool_)
        order = np.argsort(owner, kind="stable")
        tasks, begins = np.unique(owner[order], return_index=True)
        for task, mine in zip(tasks, np.split(order, begins[1:]), strict=True):
            rows = left[mine]
            table = group.names(int(task))
            found, is_there = locate(table.old, names[rows])
            if not is_there.all():
                raise BadDataError(
                    f"a region isn't among the names of group {task} of round {number}",
                    "the tables are of different runs: plan again",
                )
            whole = np.where(table.own_low >= least_score, table.own_size, 0)
            up = heads_of(table.score).astype(np.uint32)[table.up]
            top, total = _tops_and_sizes(up, table.score, whole, least_score)
            objects[rows] = table.least[top[found]]
            voxels[rows] = total[top[found]]
            names[rows], at[rows] = table.new[found], table.at[found]
            on[mine] = table.open[found] & (table.low[found] >= least_score)
        left = left[on]
    if left.size:
        raise BadDataError(f"{left.size} regions are open after the last round")
    return objects, voxels
