"""Projected memory and time of what is made of objects: cells of them, and shards.

The constants were measured with the sample and with mouse cortex: see docs/meshes.md.
"""

from __future__ import annotations

from math import prod

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.plan.cost_rest import BASE_BOUND_BYTES, BASE_EXPECTED_BYTES, Memory
from magneton_tasks.plan.object_grid import BYTES_PER_VOXEL, ObjectGrid
from magneton_tasks.plan.stage_table import Section

#: CPU seconds per voxel of the volume at mip 0 where the mip of the section is 2 (the sample: .11), and
#: so much more where it is 1: surfaces grow by that. The shards' in the same way.
S_PER_VOXEL = {"mesh": 0.1e-6, "skeleton": 0.04e-6}
_FINER = 4.0
SHARDS_S_PER_VOXEL = {"mesh": 0.01e-6, "skeleton": 0.01e-6}
#: Bytes per voxel of a cell: its numbers, and what is read and decoded of it at once.
_CELL_BYTES = {"mesh": (40, 10), "skeleton": (56, 18)}
#: What a process of cells takes anyway, to be expected.
_CELLS_BASE_BYTES = {"mesh": 200 * 2**20, "skeleton": BASE_EXPECTED_BYTES}
#: Bytes per voxel of the mip of what a cell holds of its pieces before it writes them, in ordinary
#: tissue, and how much more that may be.
_MOST_PIECES = 8
#: Bytes of a piece in a shard's task: id, digest, place, and what sorts them; and how many there are.
_BYTES_PER_PIECE = 120
_VOXELS_PER_PIECE = (60, 1500)
#: What a shard's task takes anyway, which computes next to nothing, and what the joining of one object
#: holds: at most, and to be expected.
_SHARDS_BASE_EXPECTED_BYTES = 100 * 2**20
_JOIN_BYTES = (200 * 2**20, 10 * 2**20)


def cell_memory(section: Section, cell: Vec3) -> Memory:
    """Of a cell of this shape, in voxels of the mip."""
    voxels = prod(n + 1 for n in cell)
    pieces = int(voxels * BYTES_PER_VOXEL[section] * 4)
    most, usual = _CELL_BYTES[section]
    return Memory(
        BASE_BOUND_BYTES + most * voxels + _MOST_PIECES * pieces,
        _CELLS_BASE_BYTES[section] + usual * voxels + pieces,
    )


def shard_memory(made: ObjectGrid, voxels: int) -> Memory:
    """Of a shard; ``voxels``: of the volume at the mip."""
    of_shard = voxels / len(made.shards)
    most, usual = (int(of_shard / n) * _BYTES_PER_PIECE for n in _VOXELS_PER_PIECE)
    return Memory(
        BASE_BOUND_BYTES + most + _JOIN_BYTES[0],
        _SHARDS_BASE_EXPECTED_BYTES + usual + _JOIN_BYTES[1],
    )


def cpu_s(section: Section, mip: int, voxels: int) -> tuple[float, float]:
    """CPU seconds of all cells and of all shards; ``voxels``: of the volume at mip 0."""
    share = _FINER ** (2 - mip)
    return voxels * S_PER_VOXEL[section] * share, voxels * SHARDS_S_PER_VOXEL[section] * share
