"""Projected memory of the stages after segment, in bytes; standard library only.

The constants were measured with ``benchmarks`` (pipeline, memory and pool); segment's model is in
:mod:`magneton_tasks.plan.cost_overlap`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt

from magneton_tasks.base.geometry import Vec3, ceil_div

#: Resident bytes of a process of count, pool or apply that has done next to nothing: measured are
#: 215 MiB for pool, some 300 MiB for the others with their first chunks.
BASE_BOUND_BYTES = 500 * 2**20
BASE_EXPECTED_BYTES = 300 * 2**20
POOL_BASE_EXPECTED_BYTES = 215 * 2**20
#: pool: batches of pair rows, and pyarrow's buffers.
POOL_STREAM_BYTES = 100 * 2**20
#: pool: bytes per label, at most and to be expected: 13 with 20,000 labels per block (benchmarks.pool),
#: 22 with 250,000 (benchmarks.pipeline), both beside the half of the streams.
POOL_BYTES_PER_LABEL = (60, 20)
#: pool: labels that the plan's bound has room for at least; 29 MiB.
FEW_LABELS = 500_000
#: apply: of each label in a cell: its id, its place in the table of ids, and the sort that makes that
#: table; or, once that is done, what is summed up of its object.
_BYTES_PER_ID = 56
#: apply, sharded: bytes of a voxel in compressed_segmentation and gzip, to be expected and at most; and
#: what comes to the most for each square root of labels per voxel. Measured: .08 on mouse cortex, and on
#: Voronoi cells of which .001, .01 and .1 are in a voxel .15, .46 and 1.52.
PACKED_BYTES = (0.1, 0.2)
PACKED_BYTES_BY_DENSITY = 6


@dataclass(frozen=True, slots=True)
class Memory:
    """Projected memory of one worker process, in bytes: never exceeded, and to be expected."""

    bound: int
    expected: int


def count_memory(read_shape: Vec3, overlap: Vec3) -> Memory:
    """A block's labels, a neighbour's slab twice (as stored, and as cut), and the pairs' hash table."""
    voxels = prod(read_shape)
    widest = max((o for o in overlap), default=0)
    slab = voxels // max(min(read_shape), 1) * max(widest, 64)
    labels = 4 * voxels
    return Memory(
        BASE_BOUND_BYTES + 3 * labels + 16 * slab, BASE_EXPECTED_BYTES + labels + 8 * slab
    )


def pool_memory(labels: int) -> Memory:
    """One batch of rows, and what each label takes: parent, number, id, size."""
    most, usual = POOL_BYTES_PER_LABEL
    return Memory(
        BASE_BOUND_BYTES + POOL_STREAM_BYTES + most * labels,
        POOL_BASE_EXPECTED_BYTES + POOL_STREAM_BYTES // 2 + usual * labels,
    )


def planned_pool_memory(labels: int) -> Memory:
    """As `pool_memory`, before the labels are counted.

    Samples of small blocks tell little: of 512 blocks of 16^3 they held from 57 to 469 labels, and plan
    looks at four. So the bound is that of `FEW_LABELS` at least.
    """
    return Memory(pool_memory(max(labels, FEW_LABELS)).bound, pool_memory(labels).expected)


def apply_memory(
    cell_shape: Vec3,
    slab_shape: Vec3,
    factor: Vec3 | None,
    read_voxels: int,
    fragments: int,
    kept: int = 0,
) -> Memory:
    """A slab of a cell in uint32, mip 1 of the cell, the mips of both, and the global ids of its blocks.

    Parameters
    ----------
    factor
        Of mip 1; None: apply makes none.
    read_voxels, fragments
        Of a block.
    kept
        How many times the chunks of a cell are held, compressed: 0 where each is a file of its own.
    """
    voxels = float(prod(slab_shape))
    if factor is not None:
        windows = prod(factor)
        voxels = (voxels + prod(cell_shape) / windows) * (1 + 1 / windows)
    blocks = max(8, ceil_div(prod(cell_shape), max(read_voxels, 1)) * 4)
    ids = _BYTES_PER_ID * fragments * blocks
    cell = kept * prod(cell_shape)
    most = PACKED_BYTES[1] + PACKED_BYTES_BY_DENSITY * sqrt(fragments / max(read_voxels, 1))
    return Memory(
        BASE_BOUND_BYTES + int(4.4 * voxels + most * cell) + ids,
        BASE_EXPECTED_BYTES + int(4 * voxels + PACKED_BYTES[0] * cell) + ids // 20,
    )


def downsample_memory(cell_shape: Vec3) -> Memory:
    """A cell in uint64, as it is read, with its next mip."""
    cell = 8 * prod(cell_shape)
    return Memory(BASE_BOUND_BYTES + 2 * cell, BASE_EXPECTED_BYTES + cell + cell // 8)
