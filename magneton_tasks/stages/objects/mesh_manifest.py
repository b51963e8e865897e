"""The manifest of an object's mesh, out of the places of its fragments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from magneton_tasks.formats.precomputed.meshes import Manifest
from magneton_tasks.stages.objects.mesh_grid import NodeGrid
from magneton_tasks.stages.objects.mesh_piece import Place


def manifest_of(grid: NodeGrid, sizes: Sequence[tuple[Place, int]]) -> Manifest:
    """``sizes``: in bytes, by level and in Morton order."""
    rows = np.array([(*place, size) for place, size in sizes], np.int64).reshape(-1, 5)
    of_level = [rows[rows[:, 0] == level] for level in range(grid.lods)]
    return Manifest(
        grid.chunk_shape,
        grid.grid_origin,
        tuple(2.0**level for level in range(grid.lods)),
        tuple(r[:, 1:4] for r in of_level),
        tuple(r[:, 4] for r in of_level),
    )
