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

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.residual import UInt32
from magneton_tasks.kernels.exact.rounds.look_up import locate
from magneton_tasks.kernels.exact.rounds.records import tops
from magneton_tasks.kernels.exact.rounds.tables import Int64, Mask, Names, names_of


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
    blocks: Sequence[tuple[int, Supervoxels, Int64, int]],
    rounds: Sequence[Group],
    least_score: int,
) -> list[CutBlock]:
    """Objects of the supervoxels of some blocks.

    Parameters
    ----------
    blocks
        (number, supervoxels, their voxels (supervoxels + 1,), open regions) of each: regions 1..open
        of it go into round 0.
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
    at = np.repeat([number for number, *_ in blocks], [s.names.size for s in starts])
    objects, voxels = _follow(names, at.astype(np.int64), rounds, least_score)
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
    which: Int64
    """(supervoxels that go on,): indices of ``names``."""
    names: Int64
    """Of the regions that they are in."""

    @classmethod
    def of(
        cls, number: int, table: Supervoxels, sizes: Int64, opens: int, least_score: int
    ) -> _Start:
        every = np.arange(table.up.size)
        top = tops(table.up, table.score, least_score, every)
        objects = names_of(number, top)
        objects[0] = 0
        merged = table.up != every
        low = np.full(int(table.region.max(initial=0)) + 1, np.iinfo(np.int64).max)
        np.minimum.at(low, table.region[merged], table.score[merged].astype(np.int64))
        goes_on = (table.region > 0) & (table.region <= opens) & (low >= least_score)[table.region]
        regions, which = np.unique(table.region[goes_on], return_inverse=True)
        voxels = np.zeros(every.size, np.int64)
        np.add.at(voxels, top, sizes)
        return cls(objects, voxels[top], goes_on, which.reshape(-1), names_of(number, regions))


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
        tasks = group.task_of(at[left])
        on = np.zeros(left.size, np.bool_)
        for task in np.unique(tasks):
            mine = np.flatnonzero(tasks == task)
            rows = left[mine]
            table = group.names(int(task))
            found, is_there = locate(table.old, names[rows])
            if not is_there.all():
                raise BadDataError(
                    f"a region isn't among the names of group {task} of round {number}",
                    "the tables are of different runs: plan again",
                )
            top = tops(table.up, table.score, least_score, np.arange(table.old.size))
            objects[rows] = table.least[top[found]]
            voxels[rows] = _sizes(table, top, least_score)[top[found]]
            names[rows], at[rows] = table.new[found], table.at[found]
            on[mine] = table.open[found] & (table.low[found] >= least_score)
        left = left[on]
    if left.size:
        raise BadDataError(f"{left.size} regions are open after the last round")
    return objects, voxels


def _sizes(table: Names, top: Int64, least_score: int) -> Int64:
    """Voxels by top: of the rows that are whole at the threshold."""
    whole = table.own_low >= least_score
    found = np.zeros(top.size, np.int64)
    np.add.at(found, top[whole], table.own_size[whole])
    return found
