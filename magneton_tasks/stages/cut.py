"""Stage cut of the exact method: the object of each supervoxel at the threshold.

A group of blocks follows the names of its regions downwards, round by round and table by table, and
writes one table a block: supervoxel -> global id.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.grid import to_ranges, z_ordered
from magneton_tasks.base.heap import give_back_early
from magneton_tasks.base.methods import FIRST_BLOCK
from magneton_tasks.base.units import several
from magneton_tasks.errors import MagnetonError
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.rounds.cut import CutBlock, Group, Supervoxels, cut_blocks
from magneton_tasks.kernels.exact.rounds.supervoxels import SupervoxelRows
from magneton_tasks.kernels.exact.rounds.tables import Int64, Mask, Names, names_of
from magneton_tasks.plan import cost_exact
from magneton_tasks.stages import cut_figures
from magneton_tasks.stages.loop import Batch, Begin
from magneton_tasks.stages.planning.group_work import most_names, rounds_dir
from magneton_tasks.stages.round import NAMES
from magneton_tasks.stages.segment_exact import SUPERVOXELS
from magneton_tasks.stages.slicing import (
    Made,
    Rows,
    SliceReader,
    digest_of,
    groups_of,
    into_slices,
)
from magneton_tasks.work import group_work, round_plan, threshold_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.record import Info, Outcome, Record
from magneton_tasks.work.round_plan import RoundPlan
from magneton_tasks.work.validity import pool_key

#: What files of cuts are called.
CUT = "cut"


class ObjectIds(NamedTuple):
    """Global ids of the supervoxels 1, 2, ... of a block; 0: left out."""

    id: NDArray[np.uint64]


def run(job: Job) -> int:
    """Cut one batch of groups; returns the exit code."""
    give_back_early()
    stage = CutStage(job.attempt, job.keys())
    return Batch(job).run(stage.process, stage.expected)


class CutStage:
    """Cuts groups, several at once: the names that they look up stand mostly in the same tables."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt, self.keys = attempt, keys
        self._cut: dict[int, _Group] = {}

    @cached_property
    def pool(self) -> Record:
        return self.attempt.require("pool", {0})[0]

    @cached_property
    def least_score(self) -> int:
        """Of the merges that are followed."""
        return least_score(threshold_of.pool(self.attempt.plan, self.pool).number)

    @cached_property
    def plans(self) -> list[RoundPlan]:
        """Of all rounds."""
        directory = rounds_dir(self.attempt)
        return round_plan.chain(directory, self.pool.info["plan"], self.attempt.wait_s)

    @cached_property
    def blocks(self) -> PackedRecords:
        """Of the groups."""
        groups = self.plans[0].groups
        return self.attempt.require(
            "segment", {b for key in self.keys for b in groups.blocks_of(key)}
        )

    @cached_property
    def rounds(self) -> list[Group]:
        """All rounds, from 0."""
        return [self._round(plan) for plan in self.plans]

    @cached_property
    def _records(self) -> list[PackedRecords]:
        """Of all rounds."""
        return [self.attempt.require_round(plan) for plan in self.plans]

    @cached_property
    def _most_names(self) -> int:
        """Rows of the largest table of names."""
        return max(map(most_names, self._records))

    def _round(self, plan: RoundPlan) -> Group:
        stage, records = f"round{plan.round}", self._records[plan.round]
        reader = SliceReader(self.attempt, stage, records, self.attempt.stage_dir(stage))

        def names(group: int) -> Names:
            (found,) = reader.read(NAMES, (Names,), [group])
            table: Names = found
            return table

        return Group(lambda blocks: groups_of(plan.groups, blocks), names)

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        """Cut groups: neighbours follow each other."""
        if not keys:
            return
        self.keys = z_ordered(to_ranges(keys), self.plans[0].groups.shape)
        directory, kinds = self.attempt.stage_dir("cut"), {CUT: (ObjectIds,)}
        work = into_slices(directory, kinds, self.one, lambda: (self.blocks, self.rounds))
        yield from work(self.keys, begin)

    def expected(self, _: int) -> str | None:
        return pool_key(self.pool)

    def one(self, key: int) -> Made:
        """Cut a group: the table of each of its blocks."""
        if key not in self._cut:
            began = time.time()
            try:
                self._cut = self._several(self._together(key))
            except MagnetonError:  # of another one, perhaps
                self._cut = self._several([key])
            _share(self._cut.values(), began, time.time() - began)
        return self._made(self._cut.pop(key))

    @cached_property
    def _room(self) -> int:
        """Bytes that groups may take together, as the bound of this stage's tasks allows."""
        bound = group_work.read(self.attempt.paths, "cut", self.attempt.wait_s).memory.bound
        largest = max(self._supervoxels(key) for key in self.keys)
        return cost_exact.cut_together_bytes(bound, largest, self._most_names)

    def _supervoxels(self, key: int) -> int:
        blocks = self.plans[0].groups.blocks_of(key)
        return sum(self.blocks[block].info.get("n", 0) for block in blocks)

    def _together(self, key: int) -> list[int]:
        """A group, and those after it that are cut with it."""
        taken, found = 0, list[int]()
        for group in self.keys[self.keys.index(key) :]:
            record = self._records[0].get(group)
            sent = 0 if record is None else record.info["sends"]
            taken += cost_exact.cut_held_bytes(self._supervoxels(group), sent)
            if found and taken > self._room:
                break
            found.append(group)
        return found

    def _several(self, keys: list[int]) -> dict[int, _Group]:
        """Cut groups, round by round."""
        groups = {key: _Group(key) for key in keys}
        reader = SliceReader(
            self.attempt, "segment", self.blocks, self.attempt.stage_dir("segment")
        )

        def read() -> Iterator[tuple[int, Supervoxels, Int64, int]]:
            for key, group in groups.items():
                for block in self.plans[0].groups.blocks_of(key):
                    record = self.blocks[block]
                    if record.state != "empty":
                        (rows,) = reader.read(SUPERVOXELS, (SupervoxelRows,), [block])
                        group.voxels[block] = rows.voxels
                        yield block, rows.table(), rows.sizes(), record.info["rows"]["regions"]

        found = iter(cut_blocks(read(), self.rounds, self.least_score))
        for group in groups.values():
            group.cuts = {block: next(found) for block in group.voxels}
        return groups

    def _made(self, group: _Group) -> Made:
        least, cuts, voxels = self.attempt.config.segment.min_size_vox, group.cuts, group.voxels
        tables = {b: _ids(cut, least) for b, cut in cuts.items()}
        info = Info(
            pool=pool_key(self.pool),
            n=group.supervoxels,
            joins=sum(_merged(b, cut) for b, cut in cuts.items()),
            voxels=sum(int(voxels[b].sum()) for b in cuts),
            left_out=sum(int(voxels[b][tables[b].id == 0].sum()) for b in cuts),
        )
        info |= cut_figures.of_group([_named_here(b, cut, least) for b, cut in cuts.items()])
        output = digest_of(*tables.values())
        summary = f"{several(info['n'], 'supervoxel')}, {several(info['objects'], 'object')}"
        made_of = pool_key(self.pool) or ""
        outcome = Outcome(
            "done", made_of, output, info, summary, began=group.began, seconds=group.seconds
        )
        return Made(outcome, [Rows(CUT, table, source=b) for b, table in tables.items()])


@dataclass
class _Group:
    """A group that is cut."""

    key: int
    voxels: dict[int, Int64] = field(default_factory=dict)
    """Of the supervoxels of each block with any."""
    cuts: dict[int, CutBlock] = field(default_factory=dict)
    began: float = 0.0
    seconds: float = 0.0

    @property
    def supervoxels(self) -> int:
        return sum(column.size for column in self.voxels.values())


def _share(together: Collection[_Group], began: float, seconds: float) -> None:
    """Give each of the groups that were cut together its share of the time, by its supervoxels."""
    supervoxels = sum(group.supervoxels for group in together)
    for group in together:
        part = group.supervoxels / supervoxels if supervoxels else 1 / len(together)
        group.began, group.seconds = began, seconds * part
        began += seconds * part


def _ids(cut: CutBlock, least_vox: int) -> ObjectIds:
    """Objects of fewer voxels are left out."""
    found = (cut.objects[1:] + FIRST_BLOCK).astype(np.uint64)
    return ObjectIds(np.where(cut.voxels[1:] >= least_vox, found, np.uint64(0)))


def _named_here(block: int, cut: CutBlock, least_vox: int) -> tuple[Int64, Int64]:
    """Global ids and voxels of objects that a supervoxel of the block calls: one of each does."""
    mine = _calls(block, cut) & (cut.voxels[1:] >= least_vox)
    return cut.objects[1:][mine] + FIRST_BLOCK, cut.voxels[1:][mine]


def _merged(block: int, cut: CutBlock) -> int:
    """Supervoxels of the block that call no object: each was merged into another."""
    return int(np.count_nonzero(~_calls(block, cut)))


def _calls(block: int, cut: CutBlock) -> Mask:
    names = cut.objects[1:]
    found: Mask = names == names_of(block, np.arange(1, names.size + 1))
    return found
