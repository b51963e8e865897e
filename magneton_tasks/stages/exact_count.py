"""Stage count of the exact method: the voxel edges over the faces between blocks, summed up by basins.

A block counts with the blocks behind its high faces. Contacts and label sizes of many blocks go
into one file each, as pairs do; a block's record says which rows are those of which face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.faces import Faces, Side
from magneton_tasks.kernels.exact.residual import Contacts, concatenate, empty
from magneton_tasks.stages.count import CountStage, Due
from magneton_tasks.stages.exact import place_of
from magneton_tasks.stages.loop import Begin
from magneton_tasks.work import tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import residual_store


@dataclass
class _Pending(Due):
    """Counted blocks that aren't written yet; contacts of each block by axis."""

    keys: list[int] = field(default_factory=list)
    contacts: list[list[Contacts]] = field(default_factory=list)
    sizes: list[NDArray[np.uint32]] = field(default_factory=list)


class ExactCountStage(CountStage):
    """Counts contacts, block by block."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        super().__init__(attempt, keys)
        self.residuals = residual_store(attempt, 0)
        self.settings = exact_settings(attempt.config, attempt.plan.threshold.value)

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            _ = self.blocks  # what isn't there is waited for once, not once a block
        pending = _Pending()
        for key in keys:
            begin(key)
            try:
                contacts, sizes = self.contacts(key), self.blocks.sizes(key)[0]
            except Exception as error:
                yield key, error
                continue
            pending.keys.append(key)
            pending.contacts.append(contacts)
            pending.sizes.append(sizes)
            pending.rows += sum(len(c.sum) for c in contacts) + len(sizes)
            if pending.is_due:
                yield from self.write(pending)
                pending = _Pending()
        if pending.keys:
            yield from self.write(pending)

    def contacts(self, key: int) -> list[Contacts]:
        """Contacts with the block behind each high face, by axis; none where there's no block."""
        found: list[Contacts] = [empty(Contacts)] * 3
        near = [
            (axis, other)
            for axis, other in self.grid.later_face_neighbours(key)
            if self.blocks.n_labels(key) and self.blocks.n_labels(other)
        ]
        own = self._faces(key, [(axis, 1) for axis, _ in near]) if near else {}
        for axis, other in near:
            place = place_of(self.grid, other)
            low = self._faces(other, [(axis, 0)])[axis, 0]
            found[axis] = face_contacts(
                own[axis, 1], low, axis, (key, other), place.origin, place.volume, self.settings
            )
        return found

    def _faces(self, key: int, sides: list[Side]) -> Faces:
        with self.blocks.invalidating(key):
            return self.residuals.read_faces(key, self.blocks.file(key, "residual"), sides)

    def write(self, pending: _Pending) -> Iterator[tuple[int, Outcome | Exception]]:
        """Write what is pending, then the records that name it."""
        name, directory = files.unique_suffix(), self.attempt.stage_dir("count")
        try:
            contacts = tables.write_contacts(
                directory / f"contacts-{name}.parquet",
                concatenate([c for block in pending.contacts for c in block]),
            )
            sizes = tables.write_label_sizes(
                directory / f"sizes-{name}.parquet",
                [(k, s, s) for k, s in zip(pending.keys, pending.sizes, strict=True)],
            )
        except Exception as error:
            yield pending.keys[0], error
            return
        row = size_row = 0
        for key, found, core in zip(pending.keys, pending.contacts, pending.sizes, strict=True):
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
            yield key, Outcome("done", self.expected(key), None, info=info, summary=summary)
