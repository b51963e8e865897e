"""What round 0 reads: what blocks leave open, and what their faces made of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from magneton_tasks.kernels.exact.rounds.blocks_table import Blocks, Filling
from magneton_tasks.kernels.exact.rounds.tables import (
    Crossings,
    FaceTables,
    LargeParts,
    Links,
    PartPairs,
    Parts,
    RegionContacts,
    empty,
)
from magneton_tasks.plan.rounds import faces_of
from magneton_tasks.stages.faces import FACES, number_of
from magneton_tasks.stages.planning.group_rows import undecided_rows
from magneton_tasks.stages.slicing import SliceReader
from magneton_tasks.work import blocks as work_blocks
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.stores import residual_store
from magneton_tasks.work.validity import behind


class OpenBlocks:
    """Blocks with their faces, all of which must have a valid record.

    Parameters
    ----------
    near
        Blocks whose faces are read.
    """

    def __init__(self, attempt: Attempt, near: Collection[int]) -> None:
        grid = attempt.plan.geometry.grid
        self._shape = grid.shape
        owners = {owner for block in near for owner, _ in faces_of(grid.shape, [block])}
        both = {b for owner in owners for b in (owner, *behind(grid, owner))}
        self._blocks = work_blocks.Blocks(attempt, both | set(near))
        self._residuals = residual_store(attempt)
        self._touching = attempt.require("faces", owners)
        directory = attempt.stage_dir("faces")
        self._reader = SliceReader(attempt, "faces", self._touching, directory)

    def rows(self, numbers: Sequence[int], near: Sequence[int]) -> dict[str, int]:
        """Of all tables of a group of blocks, as `cost_exact.first_rows` takes them.

        ``near``: blocks that small basins of the group may reach.
        """
        rows = {
            table: sum(self._blocks.records[n].info.get("rows", {}).get(table, 0) for n in numbers)
            for table in ("regions", "edges", "basins")
        }
        told = [self._touching[block].info for block, _ in faces_of(self._shape, numbers)]
        axes = [str(axis) for _, axis in faces_of(self._shape, numbers)]
        rows["contacts"] = sum(
            info["contacts"].get(a, 0) for info, a in zip(told, axes, strict=True)
        )
        owners = {block for block, _ in faces_of(self._shape, near)}
        rows["undecided"] = sum(
            undecided_rows(self._touching[block].info["rows"]) for block in owners
        )
        return rows

    def blocks(self, numbers: Sequence[int], room: int) -> Blocks:
        """What blocks leave open, with room for contacts."""
        filled = [number for number in numbers if self._blocks.n_labels(number)]
        rows = [self._blocks.records[number].info["rows"] for number in filled]
        regions, edges = (sum(told[table] for told in rows) for table in ("regions", "edges"))
        filling = Filling(regions, edges, room)
        for number in filled:
            with self._blocks.invalidating(number):
                info = self._blocks.file(number, "residual")
                filling.add(*self._residuals.read_open(number, info, filling.edges))
        return filling.blocks()

    def count_faces(self, numbers: Sequence[int]) -> int:
        """Faces of these blocks that were worked."""
        return sum(
            str(axis) in self._touching[block].info["contacts"]
            for block, axis in faces_of(self._shape, numbers)
        )

    def faces(self, numbers: Sequence[int]) -> FaceTables:
        """What the faces of some blocks decided."""
        kinds = (RegionContacts, Links)
        contacts, links = self._read(kinds, faces_of(self._shape, numbers))
        return FaceTables(
            contacts, links, empty(Parts), empty(Crossings), empty(PartPairs), np.zeros(0, np.int64)
        )

    def undecided(self, near: Sequence[int]) -> FaceTables:
        """What the faces of some blocks couldn't decide."""
        kinds = (Parts, Crossings, PartPairs, LargeParts)
        parts, crossings, pairs, large = self._read(kinds, faces_of(self._shape, near))
        none = empty(RegionContacts), empty(Links)
        return FaceTables(*none, parts, crossings, pairs, large.part)

    def _read(self, kinds: Sequence[type[Any]], faces: Collection[tuple[int, int]]) -> list[Any]:
        axes: dict[int, list[int]] = {}
        for block, axis in faces:
            axes.setdefault(block, []).append(axis)
        return self._reader.read(
            FACES, kinds, axes, sources=lambda block: [number_of(block, a) for a in axes[block]]
        )
