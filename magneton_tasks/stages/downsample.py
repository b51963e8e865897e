"""Stage downsample: the mips that don't fit into a cell of apply, pooled from the finest of them."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from magneton_tasks.formats.precomputed.store import PrecomputedStore
from magneton_tasks.kernels.downsample import mode_pool
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.apply import write_mips
from magneton_tasks.stages.claims import output_to_write
from magneton_tasks.stages.kept import KeptCells
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.chunks import cells_meeting, files_written, info_of, require_sound
from magneton_tasks.work.job import Job
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.record import Outcome, Record
from magneton_tasks.work.validity import pool_key


def run(job: Job) -> int:
    """Downsample one batch of coarse cells; returns the exit code."""
    stage = DownsampleStage(job.attempt, job.keys())
    return Batch(job).run(
        each(stage.one, lambda: (stage.kept.before, stage.applied, stage.pool)), stage.expected
    )


class DownsampleStage:
    """Reads a mip that apply wrote, and writes the coarser ones."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.kept = KeptCells(attempt, "downsample", keys)
        self.geometry = attempt.plan.geometry

    @cached_property
    def pool(self) -> Record:
        return self.attempt.require("pool", {0})[0]

    @cached_property
    def applied(self) -> PackedRecords:
        # All of apply must be there; its cells lie across those of this stage.
        return self.attempt.require("apply", range(len(self.geometry.cells)))

    @cached_property
    def output(self) -> PrecomputedStore:
        return output_to_write(self.attempt)

    def expected(self, _: int) -> str | None:
        return pool_key(self.pool)

    def one(self, key: int) -> Outcome:
        """Write a cell, unless the cells of apply that it is made of hold what they held the last time."""
        cells, mip = self.geometry.coarse_cells, self.geometry.cell_mips
        assert cells is not None
        box = cells.core(key)
        finer = cells_meeting(self.geometry, mip, box)
        cell_input = digest([(k, self.applied[k].input) for k in finer])
        if kept := self.kept.outcome(key, cell_input, pool_key(self.pool)):
            return kept
        # What is damaged and can be decoded all the same would get into the coarser mips.
        require_sound(self.attempt, self.output, mip, box, self.applied)
        labels = mode_pool(
            self.output.read(mip, box).astype(np.uint64, copy=False), self.geometry.factors[mip]
        )
        more = len(self.geometry.factors) - mip - 1
        written = write_mips(
            self.output, mip + 1, self.geometry.coarser(box, mip), labels, self.geometry, more
        )
        info = info_of(pool_key(self.pool), written)
        return Outcome("done", cell_input, info=info, summary=files_written(written, self.geometry))
