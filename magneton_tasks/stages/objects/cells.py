"""Stages mesh and skeleton: make a piece of each object of a cell, for the shard that it goes to.

A cell reads its box of the mip and one plane more on each high side where the volume goes on, so that
pieces of neighbours meet. Of an object that is dust for certain a row is sent, and no data: the shard
counts its voxels, for whether it is dust is decided over the whole volume.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.units import several
from magneton_tasks.formats.precomputed.store import PrecomputedStore
from magneton_tasks.kernels import compact
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.measure import boxes_and_sums
from magneton_tasks.kernels.object_sums import merged
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.kept import KeptCells
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.stages.objects.kinds import (
    grid_of,
    least_voxels,
    maker_of,
    section_of,
    sharding_of,
)
from magneton_tasks.stages.objects.maker import CellLabels, Maker
from magneton_tasks.work import cell_objects, pieces
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.chunks import cells_meeting, checksums, require_sound
from magneton_tasks.work.job import Job
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.record import Info, Outcome, Record, files_info
from magneton_tasks.work.stores import output_as_planned
from magneton_tasks.work.validity import pool_key


def run(job: Job) -> int:
    """Work one batch of cells; returns the exit code."""
    stage = CellStage(job.attempt, job.stage, job.keys())
    return Batch(job).run(
        each(stage.one, lambda: (stage.kept.before, stage.written, stage.pool)), stage.expected
    )


class CellStage:
    """Makes pieces, cell by cell."""

    def __init__(self, attempt: Attempt, stage: str, keys: list[int]) -> None:
        self.attempt, self.section = attempt, section_of(stage)
        self.geometry = attempt.plan.geometry
        self.made = grid_of(self.geometry, self.section)
        self.volume = self.geometry.mip_box(self.made.mip)
        self.cells = self.geometry.cells_at(self.made.mip)
        #: the mip in whose voxels the cells are cut
        self.first = self.geometry.first_mip(self.made.mip)
        self.kept = KeptCells(attempt, stage, keys)
        self.sharding = sharding_of(self.geometry, self.section)
        self.least = least_voxels(attempt.config, attempt.plan, self.section)

    @cached_property
    def pool(self) -> Record:
        return self.attempt.require("pool", {0})[0]

    @cached_property
    def written(self) -> PackedRecords:
        """Of the cells that wrote the mip: all, for a cell of this stage reads neighbours."""
        writer = self.geometry.writer_of(self.made.mip)
        return self.attempt.require(writer, range(len(self.cells)))

    @cached_property
    def applied(self) -> PackedRecords:
        if self.geometry.writer_of(self.made.mip) == "apply":
            return self.written
        return self.attempt.require("apply", range(len(self.geometry.cells)))

    @cached_property
    def output(self) -> PrecomputedStore:
        return output_as_planned(self.attempt)

    @cached_property
    def maker(self) -> Maker:
        return maker_of(self.attempt.config, self.attempt.plan, self.section)

    def expected(self, _: int) -> str | None:
        return pool_key(self.pool)

    def one(self, key: int) -> Outcome:
        """Work a cell, unless what it reads is what it read the last time."""
        mip, writer = self.made.mip, self.geometry.writer_of(self.made.mip)
        box = self.geometry.cell_box(writer, key, mip)
        read = box.grow((0, 0, 0), (1, 1, 1)).intersection(self.volume)
        near = cells_meeting(self.geometry, mip, read)
        first = self.geometry.cell_mips + 1 if writer == "downsample" else 0
        cell_input = digest(
            [(k, checksums(self.written[k], mip - first)) for k in near],
            [(k, self.applied[k].info.get("files")) for k in self._tables_of(key)],
        )
        if kept := self.kept.outcome(key, cell_input, pool_key(self.pool)):
            return kept
        require_sound(self.attempt, self.output, mip, read, self.written)
        return self._make(key, cell_input, box, read)

    def _make(self, key: int, cell_input: str, box: Box, read: Box) -> Outcome:
        numbers, ids = self._numbers(read)
        core = box.slices(read.begin)
        voxels = label_sizes(numbers, core, ids.size).core
        low, high, _ = boxes_and_sums(numbers, ids.size)
        wanted = (voxels >= self.least) | self._may_go_on(ids, key)
        cell = CellLabels(box, numbers, ids, low.astype(np.int64), high.astype(np.int64), wanted)
        info = Info(pool=pool_key(self.pool), voxels=int(np.count_nonzero(numbers[core])))
        info["n"], info["sent"] = ids.size, {}
        if not ids.size:
            return Outcome("empty", cell_input, info=info, summary="no objects")
        written, info["sent"] = pieces.write(
            pieces.path_of(self.attempt, self.section, key),
            self._placed(ids, voxels, {p.id: p.data for p in self.maker.pieces(cell)}),
            self.made.shard_bits,
        )
        info["files"] = files_info({pieces.PIECES: written})
        return Outcome("done", cell_input, info=info, summary=several(ids.size, "piece"))

    def _placed(
        self, ids: NDArray[np.uint64], voxels: NDArray[np.uint32], data: dict[int, bytes]
    ) -> dict[int, dict[int, tuple[int, bytes]]]:
        """Pieces by shard and id."""
        placed: dict[int, dict[int, tuple[int, bytes]]] = {}
        rows = zip(self.sharding.place(ids)[0].tolist(), ids.tolist(), voxels.tolist(), strict=True)
        for shard, one, n in rows:
            placed.setdefault(shard, {})[one] = (n, data.get(one, b""))
        return placed

    def _numbers(self, read: Box) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """The labels of a box as `CellLabels` has them, and their ids; read slab by slab of chunks."""
        numbers, slabs = np.empty(read.shape, np.uint32), []
        chunk, begin = self.output.scales[self.made.mip].chunk_size, self.volume.begin[0]
        height = chunk[0]
        for low in range(read.begin[0] - (read.begin[0] - begin) % height, read.end[0], height):
            slab = Box((low, *read.begin[1:]), (low + height, *read.end[1:])).intersection(read)
            where = slab.slices(read.begin)[0]
            labels = self.output.read(self.made.mip, slab).astype(np.uint64, copy=False)
            ids = compact.of_runs(np.ascontiguousarray(labels), numbers[where])
            slabs.append((where, ids))
        return numbers, compact.renumber(numbers, slabs)

    def _may_go_on(self, ids: NDArray[np.uint64], key: int) -> NDArray[np.bool_]:
        """Which objects may go on in other cells: those that touch the cell's faces at mip 0.

        Not as the mip has them, where a thin object is a row of crumbs that touch nothing.
        """
        records = [(k, self.applied[k]) for k in self._tables_of(key)]
        if not all(cell_objects.has_table(record) for _, record in records):
            return np.ones(ids.size, np.bool_)  # an earlier release wrote them
        sums = merged(cell_objects.read(self.attempt, records))
        whole, (begin, end) = self.geometry.box, self._at_mip_0(key)
        inside = np.ones(sums.id.size, np.bool_)
        for axis, (low, high) in enumerate(
            zip(
                (sums.low_z, sums.low_y, sums.low_x),
                (sums.high_z, sums.high_y, sums.high_x),
                strict=True,
            )
        ):
            inside &= (low > begin[axis]) | (begin[axis] == whole.begin[axis])
            inside &= (high < end[axis]) | (end[axis] == whole.end[axis])
        return ~np.isin(ids, sums.id[inside])

    def _tables_of(self, key: int) -> list[int]:
        """The cells of apply that a cell is made of."""
        return cells_meeting(self.geometry, self.first, self.cells.core(key))

    def _at_mip_0(self, key: int) -> tuple[Vec3, Vec3]:
        """Begin and end of a cell in voxels of mip 0."""
        factor, begin = self.geometry.cumulative[self.first], self.cells.box.begin
        whole, box = self.geometry.box, self.cells.core(key)
        low, high = (
            vec3(
                w + (c - b) * f
                for w, c, b, f in zip(whole.begin, corner, begin, factor, strict=True)
            )
            for corner in (box.begin, box.end)
        )
        return low, vec3(map(min, high, whole.end))
