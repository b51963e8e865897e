"""Stage apply: relabel the blocks of a cell with global ids and write its chunks, mip by mip."""

from __future__ import annotations

from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.precomputed.store import PrecomputedStore
from magneton_tasks.kernels.downsample import Label, mode_pool
from magneton_tasks.kernels.measure import Measured
from magneton_tasks.kernels.relabel import relabel_into, table_of_ids
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.claims import output_to_write
from magneton_tasks.stages.kept import KeptCells
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.work import cell_objects
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks, pool_invalidating
from magneton_tasks.work.cell_objects import OBJECTS
from magneton_tasks.work.chunks import files_written, info_of
from magneton_tasks.work.job import Job
from magneton_tasks.work.pool_table import PoolTable
from magneton_tasks.work.record import Outcome, Record, files_info
from magneton_tasks.work.stores import pool_table
from magneton_tasks.work.validity import pool_key

if TYPE_CHECKING:
    from magneton_tasks.stages.cut_tables import CutTables


def run(job: Job) -> int:
    """Write one batch of cells; returns the exit code."""
    stage = ApplyStage(job.attempt, job.keys())
    return Batch(job).run(
        each(stage.one, lambda: (stage.kept.before, stage.pool, stage.blocks, stage.table)),
        stage.expected,
    )


class ApplyStage:
    """Writes cells: whole chunks of every mip that a cell holds."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.geometry = attempt.plan.geometry
        self.keys = keys
        self.kept = KeptCells(attempt, "apply", keys)

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

    def expected(self, _: int) -> str | None:
        return pool_key(self.pool)

    def one(self, key: int) -> Outcome:
        """Write a cell, unless its labels and their global ids are those of the last time."""
        with pool_invalidating(self.attempt):
            luts = {block: self.table.global_ids(block) for block in self.meeting[key]}
        parts = [(b, self.blocks.digest(b), _digest(lut)) for b, lut in luts.items()]
        cell_input = digest(parts)
        if kept := self.kept.outcome(key, cell_input, pool_key(self.pool)):
            return kept
        box = self.geometry.cells.core(key)
        written, measured = self._write(box, *table_of_ids(luts))
        info = info_of(pool_key(self.pool), written)
        sums = measured.sums(self.geometry.box.begin)
        info["files"] = files_info({OBJECTS: cell_objects.write(self.attempt, key, sums)})
        info["rows"] = {OBJECTS: sums.id.size}
        if self.attempt.config.method == "exact":  # verify counts them
            info["voxels"] = measured.voxels
        return Outcome("done", cell_input, info=info, summary=files_written(written, self.geometry))

    def _write(
        self, box: Box, ids: NDArray[np.uint64], luts: dict[int, NDArray[np.uint32]]
    ) -> tuple[list[list[FileInfo]], Measured]:
        """Write a cell slab by slab: memory that is used again costs less than that of a whole cell.

        ``ids`` and ``luts`` are what `table_of_ids` makes. Returns the files of each mip, and what
        the objects are like.
        """
        geometry, more = self.geometry, self.geometry.cell_mips
        factor = geometry.factors[0] if more else (1, 1, 1)
        slabs = list(box.tiles(geometry.slab_shape(self.output.scales[0].chunk_size)))
        buffer = np.empty(slabs[0].shape, np.uint32)
        coarser = np.empty(geometry.coarser(box, 0).shape if more else (0, 0, 0), np.uint32)
        written, measured = self.output.writer(0), Measured(ids, box)
        for slab in slabs:
            indices = buffer[: slab.shape[0]]
            self._relabel(slab, luts, indices)
            measured.add(indices, slab.begin)
            written.write(slab, indices, ids)
            if more:
                begin = (slab.begin[0] - box.begin[0]) // factor[0]
                pooled = mode_pool(indices, factor)
                coarser[begin : begin + len(pooled)] = pooled
        finest = written.finish()
        if not more:
            return [finest], measured
        coarse = geometry.coarser(box, 0)
        coarse_chunks = write_mips(self.output, 1, coarse, coarser, geometry, more - 1, ids)
        return [finest, *coarse_chunks], measured

    def _relabel(
        self, box: Box, luts: dict[int, NDArray[np.uint32]], out: NDArray[np.uint32]
    ) -> None:
        """Write the index into the cell's ids of each voxel of ``box`` to ``out``."""
        for block, lut in luts.items():
            part = box.intersection(self.geometry.grid.core(block))
            if not part.is_empty:
                for piece, labels in self.blocks.pieces(block, part):
                    relabel_into(out[piece.slices(box.begin)], labels, lut)


def write_mips(
    output: PrecomputedStore,
    mip: int,
    box: Box,
    labels: NDArray[Label],
    geometry: Geometry,
    more: int,
    ids: NDArray[np.uint64] | None = None,
) -> list[list[FileInfo]]:
    """Write ``labels`` at ``mip`` and pooled at the ``more`` mips after it.

    Parameters
    ----------
    box
        In voxels of ``mip``; whole chunks at every mip that is written, or at the volume's end.
    labels
        uint64 (z, y, x); or uint32 with ``ids``, indices into these.
    ids
        uint64 (n,), ascending, so that each has one index.

    Returns
    -------
    list of list of FileInfo
        Size and checksum of each file, per mip, as `PrecomputedStore.file_names` has them.
    """
    written = [output.write(mip, box, labels, ids)]
    for k in range(mip, mip + more):
        labels = mode_pool(labels, geometry.factors[k])
        box = geometry.coarser(box, k)
        written.append(output.write(k + 1, box, labels, ids))
    return written


def _digest(lut: NDArray[np.uint64]) -> str:
    return blake2b(lut.data, digest_size=8).hexdigest()
