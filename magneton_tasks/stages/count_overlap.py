"""Stage count of the overlap method: how the labels of neighbouring blocks share voxels where their read boxes meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.base.units import several
from magneton_tasks.kernels.overlap.overlap import Pairs, count_overlaps
from magneton_tasks.stages.counting import Neighbourhood, into_common_files
from magneton_tasks.stages.loop import Batch
from magneton_tasks.work import tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info

#: what a block counts: (block, later neighbour, pairs) of each such neighbour, and the voxels of its
#: labels in its core and in its read box
_Counted = tuple[list[tuple[int, int, Pairs]], tuple[NDArray[np.uint32], NDArray[np.uint32]]]


def run(job: Job) -> int:
    """Count one batch of blocks; returns the exit code."""
    stage = OverlapCountStage(job.attempt, job.keys())
    process = into_common_files(stage.near, stage.count, stage.write)
    return Batch(job).run(process, stage.near.expected)


class OverlapCountStage:
    """Counts pairs, block by block."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt, self.near = attempt, Neighbourhood(attempt, keys)

    def count(self, key: int) -> tuple[_Counted, int]:
        """The pairs of a block with each later neighbour, its labels' sizes; the rows of both."""
        pairs, sizes = list(self._pairs(key)), self.near.blocks.sizes(key)
        return (pairs, sizes), sum(len(p) for _, _, p in pairs) + len(sizes[0])

    def _pairs(self, key: int) -> Iterator[tuple[int, int, Pairs]]:
        blocks, grid = self.near.blocks, self.near.grid
        if blocks.n_labels(key) == 0:
            return
        near = [k for k in self.near.later[key] if blocks.n_labels(k)]
        if not near:
            return
        box = grid.read(key)
        labels, sizes = blocks.read(key, box), blocks.sizes(key)[1]
        for other in near:
            shared = box.intersection(grid.read(other))
            found = count_overlaps(
                labels[shared.slices(box.begin)],
                blocks.read(other, shared),
                sizes,
                blocks.sizes(other)[1],
            )
            if len(found):
                yield key, other, found

    def write(self, keys: list[int], counted: list[_Counted]) -> Iterator[tuple[int, Outcome]]:
        """Write what was counted, then the records that name it."""
        name, directory = files.unique_suffix(), self.attempt.stage_dir("count")
        pairs = tables.write_pairs(
            directory / f"pairs-{name}.parquet",
            tables.pair_columns([p for found, _ in counted for p in found]),
        )
        sizes = tables.write_label_sizes(
            directory / f"sizes-{name}.parquet",
            [(k, core, read) for k, (_, (core, read)) in zip(keys, counted, strict=True)],
        )
        pair_row = size_row = 0
        for key, (found, (core, _)) in zip(keys, counted, strict=True):
            n = sum(len(p) for _, _, p in found)
            info = Info(
                n=len(core),
                file=name,
                pairs=[pair_row, n],
                sizes=[size_row, len(core)],
                files=files_info({"pairs": pairs, "sizes": sizes}),
            )
            pair_row, size_row = pair_row + n, size_row + len(core)
            summary = several(n, "pair")
            yield key, Outcome("done", self.near.expected(key), None, info=info, summary=summary)
