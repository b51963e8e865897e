"""The block step of a run by rounds: supervoxels, what merged them, and what stays open.

Supervoxels are the regions before mean linkage: no threshold changes them, so label files hold
them, and thresholds are cuts through the records of what merges them (`records`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.basins import Planes
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_regions import (
    BlockRegions,
    link_by_mean,
    link_small,
    start_block,
)
from magneton_tasks.kernels.exact.block_step import (
    check_block,
    check_settings,
    close_outer_faces,
    residual_of,
)
from magneton_tasks.kernels.exact.faces import Faces
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.labelled_pairs import labelled_pairs
from magneton_tasks.kernels.exact.mean_linkage import MergeRecords
from magneton_tasks.kernels.exact.residual import Residual, UInt8, UInt32
from magneton_tasks.kernels.exact.rounds.curve import (
    Curve,
    Largest,
    Merged,
    largest_ending,
    sums_of_merges,
    sums_of_supervoxels,
)
from magneton_tasks.kernels.exact.rounds.cut import Supervoxels
from magneton_tasks.kernels.exact.rounds.records import Forest, Merges, record
from magneton_tasks.kernels.exact.rounds.tables import NO_SCORE, Int64, Nodes, names_of
from magneton_tasks.kernels.union_find import renumber


@dataclass(frozen=True, slots=True)
class BlockSupervoxels:
    """What the block step makes of a block."""

    labels: UInt32
    """(z, y, x): supervoxels 1..n; 0: background."""
    sizes: Int64
    """(n + 1,): voxels of each; not capped."""
    supervoxels: Supervoxels
    regions: Nodes
    """The open regions, numbered 1, 2, ..."""
    faces: Faces
    residual: Residual
    curve: Curve
    merges: int
    """By mean linkage."""


def segment_supervoxels(
    affinity: UInt8, high: Planes, place: Place, settings: ExactSettings
) -> BlockSupervoxels:
    """Segment one block, down to ``settings.threshold``.

    Parameters and errors as of `block_step.segment_block_exact`.
    """
    check_settings(settings)
    check_block(affinity, high, place)
    high = close_outer_faces(affinity, high, place.inner)
    start = start_block(affinity, high, place.inner, settings)
    regions = start.regions
    pairs = labelled_pairs(affinity, regions.labels)
    link_small(regions, settings)
    supervoxel_of, sizes = regions.region_of.copy(), regions.sizes.copy()  # of cells
    between = int(regions.edges.sum.sum()), int(regions.edges.count.sum())
    merges, forest = _merge(regions, least_score(settings.threshold))
    residual = residual_of(start, place, settings)
    renumber(regions.labels.reshape(-1), supervoxel_of)
    region_of = np.zeros(sizes.size, np.uint32)
    region_of[supervoxel_of] = regions.region_of
    table = Supervoxels(region_of, forest.up, forest.score)
    nodes = _open_regions(place.block, residual.opens, table, sizes)
    curve = sums_of_supervoxels(sizes[1:], pairs, between)
    curve += sums_of_merges(
        Merged(forest.sizes_gone, forest.sizes_kept, forest.unscored, *merges[2:])
    )
    curve = replace(curve, largest=_largest(place.block, table, sizes, nodes))
    return BlockSupervoxels(
        regions.labels, sizes, table, nodes, start.faces, residual, curve, merges.gone.size
    )


def _merge(regions: BlockRegions, least_score: int) -> tuple[MergeRecords, Forest]:
    """Mean linkage of supervoxels, recorded."""
    every = np.arange(regions.n + 1, dtype=np.uint32)
    sizes = regions.sizes
    room = MergeRecords.room(regions.n)
    count = link_by_mean(regions, least_score, room)
    merges = MergeRecords._make(column[:count] for column in room)
    none = np.full(every.size, NO_SCORE, np.uint32)
    return merges, record(every, Merges(*merges[:3]), every.astype(np.int64), sizes, none)


def _largest(block: int, table: Supervoxels, sizes: Int64, opens: Nodes) -> Largest:
    """The largest objects that end in the block."""
    low = np.full(int(table.region.max(initial=0)) + 1, -1)  # of closed regions
    low[1 : opens.low.size + 1] = opens.low
    n = sizes.size - 1
    return largest_ending(
        table.up[1:] - np.uint32(1),
        table.score[1:],
        sizes[1:],
        np.full(n, NO_SCORE, np.uint32),
        low[table.region[1:]],
        names_of(block, np.arange(1, n + 1)),
    )


def _open_regions(block: int, count: int, table: Supervoxels, sizes: Int64) -> Nodes:
    """Regions 1..count."""
    size, least, low = _add_up(table.region, table.up, table.score, sizes, count)
    return Nodes(
        names_of(block, np.arange(1, count + 1)),
        size,
        names_of(block, least),
        low,
        np.full(count, block, np.uint32),
    )


@njit(nogil=True)
def _add_up(
    region: UInt32, up: UInt32, score: UInt32, sizes: Int64, count: int
) -> tuple[Int64, Int64, UInt32]:
    """Of regions 1..count: voxels, smallest supervoxel, lowest score of a merge inside."""
    size = np.zeros(count, np.int64)
    least = np.zeros(count, np.int64)
    low = np.full(count, np.uint32(NO_SCORE), np.uint32)
    for k in range(1, region.size):
        row = np.int64(region[k]) - 1
        if row < 0 or row >= count:
            continue
        size[row] += sizes[k]
        if least[row] == 0:
            least[row] = k
        if up[k] != k:
            low[row] = min(low[row], score[k])
    return size, least, low
