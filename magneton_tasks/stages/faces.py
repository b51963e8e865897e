"""Stage faces of the exact method: what touches over the faces between blocks, summed up by regions.

A block works the faces behind which its later neighbours lie, its three high ones: each face is
worked once, from the planes of both its sides and the basins on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.units import several
from magneton_tasks.kernels.exact.block_faces import Place, inner_sides
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.faces import Faces
from magneton_tasks.kernels.exact.residual import Contacts, empty, empty_residual
from magneton_tasks.kernels.exact.rounds.face_step import BlockParts, decide_face, parts_of
from magneton_tasks.kernels.exact.rounds.tables import (
    Crossings,
    FaceTables,
    LargeParts,
    Links,
    PartPairs,
    Parts,
    RegionContacts,
)
from magneton_tasks.stages.held_blocks import HeldBlocks
from magneton_tasks.stages.loop import Batch
from magneton_tasks.stages.slicing import Made, Rows, digest_of, into_slices
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome
from magneton_tasks.work.stores import residual_store
from magneton_tasks.work.validity import behind, count_input

#: What files of faces are called, and hold.
FACES = "faces"
KINDS = (RegionContacts, Links, Parts, Crossings, PartPairs, LargeParts)
#: Voxels of faces whose blocks are held, with all that lies on them, for the faces of others: some
#: 25 B each. Neighbours in space follow each other, so most small blocks are read once: of 16^3 or
#: 32^3 blocks of 32^3 6 and 16 % twice, of blocks of 256^3 90 %.
_HELD_VOXELS = 1 << 20
#: Blocks that are held, however large.
_HELD_BLOCKS = 8


def run(job: Job) -> int:
    """Work the faces of one batch of blocks; returns the exit code."""
    stage = FacesStage(job.attempt, job.keys())
    directory = job.attempt.stage_dir("faces")
    process = into_slices(directory, {FACES: KINDS}, stage.one, lambda: stage.blocks)
    return Batch(job).run(process, stage.expected)


def number_of(block: int, axis: int) -> int:
    """The number of a face in files: of a block's high face along an axis."""
    return 3 * block + axis


class _Block(NamedTuple):
    """What faces need of a block."""

    parts: BlockParts
    faces: Faces


class FacesStage:
    """Works faces, block by block."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.settings = attempt.exact_settings
        self.residuals = residual_store(attempt)
        self._keys = keys
        self._blocks: Blocks | None = None
        voxels = self.grid.largest_core
        planes = 2 * sum(prod(voxels) // n for n in voxels)
        most = max(_HELD_VOXELS // planes, _HELD_BLOCKS)
        self._held = HeldBlocks(self.grid, keys, most, self._read)

    @property
    def blocks(self) -> Blocks:
        """The blocks, and those behind their high faces."""
        if self._blocks is None:
            near = {b for key in self._keys for b in (key, *behind(self.grid, key))}
            self._blocks = Blocks(self.attempt, near)
        return self._blocks

    def expected(self, key: int) -> str:
        near = behind(self.grid, key)
        return count_input({k: self.blocks.digest(k) for k in (key, *near)}, key, near)

    def one(self, key: int) -> Made:
        """All high faces of a block."""
        found = list(self._faces(key))
        sums = [sum(int(t.contacts.sum.sum()) for _, t in found)]
        sums.append(sum(int(t.contacts.count.sum()) for _, t in found))
        rows = [
            Rows(FACES, table, source=number_of(key, axis))
            for axis, tables in found
            for table in (*tables[:-1], LargeParts(tables.large))
            if table[0].size
        ]
        info = Info(
            contacts={str(axis): len(t.contacts.a) for axis, t in found},
            sums=sums,
            rows={
                "contacts": sum(len(t.contacts.a) for _, t in found),
                "parts": sum(len(t.parts.part) + len(t.crossings.a) for _, t in found),
                "pairs": sum(len(t.pairs.a) for _, t in found),
            },
        )
        summary = several(info["rows"]["contacts"], "contact")
        output = digest_of(*(row.table for row in rows))
        return Made(Outcome("done", self.expected(key), output, info, summary), rows)

    def _faces(self, key: int) -> Iterator[tuple[int, FaceTables]]:
        """(axis, tables) of each high face with labels on either side.

        Where one side has none, nothing touches; small basins on the other may be whole all the same.
        """
        for axis, other in self.grid.later_face_neighbours(key):
            if not self.blocks.n_labels(key) and not self.blocks.n_labels(other):
                continue
            contacts = self._contacts(key, other, axis)
            tables = decide_face(
                self._held.of(key).parts, self._held.of(other).parts, axis, contacts, self.settings
            )
            yield axis, tables
            self._held.worked(other, key)
        self._held.worked(key, key)

    def _contacts(self, key: int, other: int, axis: int) -> Contacts:
        if not self.blocks.n_labels(key) or not self.blocks.n_labels(other):
            none: Contacts = empty(Contacts)
            return none
        place = Place.of(self.grid, other)
        return face_contacts(
            self._held.of(key).faces[axis, 1],
            self._held.of(other).faces[axis, 0],
            axis,
            (key, other),
            place.origin,
            place.volume,
            self.settings,
        )

    def _read(self, key: int) -> _Block:
        if not self.blocks.n_labels(key):
            return _Block(parts_of(key, empty_residual(), np.zeros(0, np.int64)), {})
        sides = inner_sides(Place.of(self.grid, key).inner)
        with self.blocks.invalidating(key):
            info = self.blocks.file(key, "residual")
            regions, residual, faces = self.residuals.read_for_faces(key, info, sides)
        return _Block(parts_of(key, residual, regions.size), faces)
