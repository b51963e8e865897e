"""Stage count of the exact method: the voxel edges over the faces between blocks, summed up by basins.

A block counts with the blocks behind its high faces; its record says which rows are those of which
face.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.faces import Faces, Side
from magneton_tasks.kernels.exact.residual import Contacts, concatenate, empty
from magneton_tasks.stages.counting import Neighbourhood, into_common_files
from magneton_tasks.stages.loop import Batch
from magneton_tasks.work import tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import residual_store

#: what a block counts: contacts by axis, and the voxels of its labels
_Counted = tuple[list[Contacts], NDArray[np.uint32]]


def run(job: Job) -> int:
    """Count one batch of blocks; returns the exit code."""
    stage = ExactCountStage(job.attempt, job.keys())
    process = into_common_files(stage.near, stage.count, stage.write)
    return Batch(job).run(process, stage.near.expected)


class ExactCountStage:
    """Counts contacts, block by block."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt, self.near = attempt, Neighbourhood(attempt, keys)
        self.residuals = residual_store(attempt, 0)
        self.settings = exact_settings(attempt.config, attempt.plan.threshold.value)

    def count(self, key: int) -> tuple[_Counted, int]:
        """A block's contacts and its labels' sizes; the rows of both."""
        contacts, sizes = self.contacts(key), self.near.blocks.sizes(key)[0]
        return (contacts, sizes), sum(len(c.sum) for c in contacts) + len(sizes)

    def contacts(self, key: int) -> list[Contacts]:
        """Contacts with the block behind each high face, by axis; none where there's no block."""
        found: list[Contacts] = [empty(Contacts)] * 3
        blocks, grid = self.near.blocks, self.near.grid
        near = [
            (axis, other)
            for axis, other in grid.later_face_neighbours(key)
            if blocks.n_labels(key) and blocks.n_labels(other)
        ]
        own = self._faces(key, [(axis, 1) for axis, _ in near]) if near else {}
        for axis, other in near:
            place = Place.of(grid, other)
            low = self._faces(other, [(axis, 0)])[axis, 0]
            found[axis] = face_contacts(
                own[axis, 1], low, axis, (key, other), place.origin, place.volume, self.settings
            )
        return found

    def _faces(self, key: int, sides: list[Side]) -> Faces:
        blocks = self.near.blocks
        with blocks.invalidating(key):
            return self.residuals.read_faces(key, blocks.file(key, "residual"), sides)

    def write(self, keys: list[int], counted: list[_Counted]) -> Iterator[tuple[int, Outcome]]:
        """Write what was counted, then the records that name it."""
        name, directory = files.unique_suffix(), self.attempt.stage_dir("count")
        contacts = tables.write_contacts(
            directory / f"contacts-{name}.parquet",
            concatenate([c for found, _ in counted for c in found]),
        )
        sizes = tables.write_label_sizes(
            directory / f"sizes-{name}.parquet",
            [(k, s, s) for k, (_, s) in zip(keys, counted, strict=True)],
        )
        row = size_row = 0
        for key, (found, core) in zip(keys, counted, strict=True):
            counts = [len(c.sum) for c in found]
            starts = [row, row + counts[0], row + counts[0] + counts[1]]
            info = Info(
                n=len(core),
                file=name,
                contacts=[row, sum(counts)],
                sizes=[size_row, len(core)],
                faces=[list(f) for f in zip(starts, counts, strict=True)],
                files=files_info({"contacts": contacts, "sizes": sizes}),
            )
            row, size_row = row + sum(counts), size_row + len(core)
            summary = f"{sum(counts):,} contacts"
            yield key, Outcome("done", self.near.expected(key), None, info=info, summary=summary)
