"""Meshes of objects: pieces by cell, and what joins them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from magneton_tasks.config.model import RunConfig
from magneton_tasks.formats.precomputed import meshes
from magneton_tasks.kernels.mesh.levels import Levels
from magneton_tasks.stages.objects.maker import CellLabels, Joined, Piece, Space, StoredPiece
from magneton_tasks.stages.objects.mesh_cell import CellMeshes
from magneton_tasks.stages.objects.mesh_grid import NodeGrid
from magneton_tasks.stages.objects.mesh_join import joined

#: Of a corner along its node: steps of a sixteenth of a voxel.
BITS = 10
#: Of the finest level, where none is set: as a part of the smallest edge of a voxel. Enclosed volumes
#: stay within a percent; twice as much makes thin neurites 2 % thinner.
USUAL_ERROR = 0.1
#: From a level to the next, which is shown at half the scale.
_COARSER = 3.0


class MeshMaker:
    """Fulfils `maker.Maker`."""

    def __init__(self, space: Space, lods: int, error_nm: float | None) -> None:
        smallest = min(space.voxel_size_nm)
        z, y, x = (size / smallest for size in space.voxel_size_nm)
        error = USUAL_ERROR if error_nm is None else error_nm / smallest
        self._space = space
        self._grid = NodeGrid.of(space, lods)
        errors = tuple(error * _COARSER**level for level in range(lods))
        self._levels = Levels(self._grid.node, (z, y, x), errors)

    def pieces(self, cell: CellLabels) -> Iterator[Piece]:
        return CellMeshes(self._grid, self._levels, BITS, cell).pieces()

    def join(self, global_id: int, pieces: Sequence[StoredPiece]) -> Generator[bytes, None, Joined]:
        return joined(self._grid, self._levels, BITS, pieces)

    def info(self, sharding: Mapping[str, Any]) -> dict[str, Any]:
        return meshes.info(self._space.voxel_size_nm, BITS, sharding)


def make(config: RunConfig, space: Space) -> MeshMaker:
    """The maker of a config's section `mesh`."""
    section = config.mesh
    assert section is not None
    return MeshMaker(space, section.lods, section.error_nm)
