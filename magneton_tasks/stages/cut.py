"""Stage cut of the exact method: the object of each supervoxel at the threshold.

A group of blocks follows the names of its regions downwards, round by round and table by table, and
writes one table a block: supervoxel -> global id.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import replace
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
        self._cut: dict[int, Made] = {}

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

    def _round(self, plan: RoundPlan) -> Group:
        stage = f"round{plan.round}"
        records = self.attempt.require_round(plan)
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
        return self._cut.pop(key)

    @cached_property
    def _most(self) -> int:
        """Supervoxels that are cut together, as the bound of this stage's tasks allows."""
        bound = group_work.read(self.attempt.paths, "cut", self.attempt.wait_s).memory.bound
        names = max(most_names(self.attempt.require_round(plan)) for plan in self.plans)
        return cost_exact.cut_supervoxels(bound, names)

    def _together(self, key: int) -> list[int]:
        """A group, and those after it that are cut with it."""
        rows, found = 0, list[int]()
        for group in self.keys[self.keys.index(key) :]:
            rows += sum(
                self.blocks[b].info.get("n", 0) for b in self.plans[0].groups.blocks_of(group)
            )
            if found and rows > self._most:
                break
            found.append(group)
        return found

    def _several(self, keys: list[int]) -> dict[int, Made]:
        """Cut groups, round by round."""
        numbers = {
            key: [
                block
                for block in self.plans[0].groups.blocks_of(key)
                if self.blocks[block].state != "empty"
            ]
            for key in keys
        }
        reader = SliceReader(
            self.attempt, "segment", self.blocks, self.attempt.stage_dir("segment")
        )
        voxels: dict[int, Int64] = {}

        def read() -> Iterator[tuple[int, Supervoxels, Int64, int]]:
            for block in (b for found in numbers.values() for b in found):
                (rows,) = reader.read(SUPERVOXELS, (SupervoxelRows,), [block])
                voxels[block] = rows.voxels
                opens = self.blocks[block].info["rows"]["regions"]
                yield block, rows.table(), rows.sizes(), opens

        found = cut_blocks(read(), self.rounds, self.least_score)
        cuts = dict(zip(voxels, found, strict=True))
        return {key: self._made(key, numbers[key], voxels, cuts) for key in keys}

    def _made(
        self,
        key: int,
        numbers: list[int],
        voxels: dict[int, Int64],
        cuts: dict[int, CutBlock],
    ) -> Made:
        least = self.attempt.config.segment.min_size_vox
        tables = {b: _ids(cuts[b], least) for b in numbers}
        info = Info(
            pool=pool_key(self.pool),
            n=sum(len(t.id) for t in tables.values()),
            joins=sum(_merged(b, cuts[b]) for b in numbers),
            voxels=sum(int(voxels[b].sum()) for b in numbers),
            left_out=sum(int(voxels[b][tables[b].id == 0].sum()) for b in numbers),
        )
        info |= cut_figures.of_group([_named_here(b, cuts[b], least) for b in numbers])
        output = digest_of(*tables.values())
        summary = f"{several(info['n'], 'supervoxel')}, {several(info['objects'], 'object')}"
        outcome = Outcome("done", pool_key(self.pool) or "", output, info, summary)
        return Made(outcome, [Rows(CUT, table, source=b) for b, table in tables.items()])


def _share(together: Collection[Made], began: float, seconds: float) -> None:
    """Give each of the groups that were cut together its share of the time, by its supervoxels."""
    supervoxels = sum(made.outcome.info["n"] for made in together)
    for made in together:
        part = made.outcome.info["n"] / supervoxels if supervoxels else 1 / len(together)
        made.outcome = replace(made.outcome, began=began, seconds=seconds * part)
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
