"""Stage apply: relabel the blocks of a cell with global ids and write its chunks, mip by mip."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.precomputed.write import PrecomputedStore
from magneton_tasks.kernels.downsample import mode_pool
from magneton_tasks.kernels.relabel import relabel_into
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.claims import output_to_write
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks, pool_invalidating
from magneton_tasks.work.chunks import info_of
from magneton_tasks.work.job import Job
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.pool_table import PoolTable
from magneton_tasks.work.record import Info, Outcome, Record
from magneton_tasks.work.stores import pool_table
from magneton_tasks.work.validity import holds_same

if TYPE_CHECKING:
    from magneton_tasks.stages.cut_tables import CutTables


def run(job: Job) -> int:
    """Write one batch of cells; returns the exit code."""
    stage = ApplyStage(job.attempt, job.keys())
    return Batch(job).run(
        each(stage.one, lambda: (stage.pool, stage.blocks, stage.table)), stage.expected
    )


class ApplyStage:
    """Writes cells: whole chunks of every mip that a cell holds."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.geometry = attempt.plan.geometry
        self.keys = keys

    @cached_property
    def meeting(self) -> dict[int, list[int]]:
        """The blocks whose cores meet each cell."""
        cells, grid = self.geometry.cells, self.geometry.grid
        return {key: grid.cores_meeting(cells.core(key)) for key in self.keys}

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks(self.attempt, {b for near in self.meeting.values() for b in near})

    @cached_property
    def pool(self) -> Record:
        return self.attempt.require("pool", {0})[0]

    @cached_property
    def table(self) -> PoolTable | CutTables:
        """Label -> global id, block by block."""
        if self.attempt.config.method == "overlap":
            return pool_table(self.attempt, self.pool)
        from magneton_tasks.stages.cut_tables import CutTables  # numba costs a second to import

        near = {b for found in self.meeting.values() for b in found}
        return CutTables(self.attempt, self.pool, near)

    @cached_property
    def output(self) -> PrecomputedStore:
        return output_to_write(self.attempt)

    @cached_property
    def before(self) -> dict[int, KeyState]:
        return self.attempt.manifest("apply").read(set(self.keys))

    def expected(self, _: int) -> str | None:
        return self.pool.input

    def one(self, key: int) -> Outcome:
        """Write a cell, unless its labels and their global ids are those of the last time."""
        with pool_invalidating(self.attempt):
            luts = {block: self.table.global_ids(block) for block in self.meeting[key]}
        parts = [(b, self.blocks.digest(b), _digest(lut)) for b, lut in luts.items()]
        cell_input = digest(parts)
        before = self.before[key].valid if key in self.before else None
        accepted = before is not None and self.attempt.accepts("apply", before)
        if before is not None and accepted and holds_same(before, cell_input):
            info = before.info | Info(pool=self.pool.input)
            return Outcome("done", cell_input, info=info, summary="unchanged")
        box = self.geometry.cells.core(key)
        labels = self._relabel(box, luts)
        written = write_mips(self.output, 0, box, labels, self.geometry, self.geometry.cell_mips)
        info = info_of(self.pool.input, written)
        if self.attempt.config.method == "exact":  # verify counts them
            info["voxels"] = int(np.count_nonzero(labels))
        return Outcome("done", cell_input, info=info, summary=f"{sum(map(len, written)):,} chunks")

    def _relabel(self, box: Box, luts: dict[int, NDArray[np.uint64]]) -> NDArray[np.uint64]:
        out = np.zeros(box.shape, np.uint64)
        for block, lut in luts.items():
            part = box.intersection(self.geometry.grid.core(block))
            relabel_into(
                out[part.slices(box.begin)], self.blocks.read(block, part), with_background(lut)
            )
        return out


def with_background(lut: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Global ids by label, with 0 for background in front: uint64 (n + 1,)."""
    return np.concatenate((np.zeros(1, np.uint64), lut))


def write_mips(
    output: PrecomputedStore,
    mip: int,
    box: Box,
    labels: NDArray[np.uint64],
    geometry: Geometry,
    more: int,
) -> list[list[FileInfo]]:
    """Write ``labels`` at ``mip`` and pooled at the ``more`` mips after it.

    Parameters
    ----------
    box
        In voxels of ``mip``; whole chunks at every mip that is written, or at the volume's end.
    labels
        uint64 (z, y, x).

    Returns
    -------
    list of list of FileInfo
        Size and checksum of each chunk's file: per mip, chunks in raster order.
    """
    written = [output.write(mip, box, labels)]
    for k in range(mip, mip + more):
        labels = mode_pool(labels, geometry.factors[k])
        box = geometry.coarser(box, k)
        written.append(output.write(k + 1, box, labels))
    return written


def _digest(lut: NDArray[np.uint64]) -> str:
    return blake2b(lut.tobytes(), digest_size=8).hexdigest()
