"""From the voxels of a block to its regions, step by step (docs/exact.md).

=======  ==================================  ======================================
step     what it does                        kernel
=======  ==================================  ======================================
2        voxels join into basins             `basins`
4        small basins join into cells        `clean_up`
5        the graph of cells                  `region_graph`
6        small cells join into regions       `size_limited_linkage`
7        regions join by mean affinity       `mean_linkage`
=======  ==================================  ======================================

Voxels keep the label of their cell; all that follows is numbers of cells. Positions and keys are
those in the block: its own order is the volume's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.basins import BasinLabels, Int32, Planes, label_basins
from magneton_tasks.kernels.exact.block_faces import Inner, best_pairs, make_faces, sides_of_basins
from magneton_tasks.kernels.exact.clean_up import best_edges, join_small
from magneton_tasks.kernels.exact.faces import Faces
from magneton_tasks.kernels.exact.mean_linkage import MergeRecords, mean_linkage
from magneton_tasks.kernels.exact.region_graph import aggregate, region_graph
from magneton_tasks.kernels.exact.residual import (
    BasinPairs,
    Edges,
    Int64,
    Mask,
    UInt8,
    UInt32,
    empty,
)
from magneton_tasks.kernels.exact.size_limited_linkage import size_limited
from magneton_tasks.kernels.union_find import add_by_number, number_roots, renumber


@dataclass(frozen=True, slots=True)
class FaceBasinState:
    """What is known of the basins on faces with a neighbour, 1..nb in the order of basins."""

    sides: UInt8
    """(nb,): see `Basins.sides`."""
    sizes: Int32
    key: Int64
    """(nb,): best edge of those smaller than s_min to a basin that is on no such face; 0: none."""
    cell: UInt32
    """(nb,): of each basin itself."""
    target: UInt32
    """(nb,): cell behind ``key``; 0: none."""
    pairs: BasinPairs


@dataclass(slots=True)
class BlockRegions:
    """The regions 1..n of a block, on their way through the steps."""

    labels: UInt32
    """(z, y, x): the cell of each voxel; 0: background."""
    region_of: UInt32
    """(cells + 1,): the region of each cell."""
    sizes: Int64
    """(n + 1,): voxels."""
    open_: Mask
    """(n + 1,): may still grow in other blocks."""
    edges: Edges

    @property
    def n(self) -> int:
        return self.sizes.size - 1


@dataclass(frozen=True, slots=True)
class BlockStart:
    """What the first steps make of a block."""

    regions: BlockRegions
    """The cells, none of them merged yet."""
    faces: Faces
    face_basins: FaceBasinState
    basins: int


def start_block(affinity: UInt8, high: Planes, inner: Inner, settings: ExactSettings) -> BlockStart:
    """Steps 2 to 5: basins, faces, cells and their graph.

    Parameters
    ----------
    affinity, high
        As for `block_step.segment_block_exact`.
    inner
        Which faces have a neighbour behind them.
    """
    basins = label_basins(affinity, high, settings.t_low, settings.t_high)
    count = basins.sizes.size - 1
    sides = sides_of_basins(basins.labels, count, inner)
    face_numbers = np.zeros(count + 1, np.uint32)
    on_face = np.flatnonzero(sides)
    face_numbers[on_face] = np.arange(1, on_face.size + 1)
    faces = make_faces(affinity, basins.labels, face_numbers, basins.picks, inner)
    regions, state = _join_cells(affinity, basins, sides, face_numbers, settings)
    regions.edges = region_graph(affinity, regions.labels, regions.n)
    return BlockStart(regions, faces, state, count)


def _join_cells(
    affinity: UInt8,
    basins: BasinLabels,
    sides: UInt8,
    face_numbers: UInt32,
    settings: ExactSettings,
) -> tuple[BlockRegions, FaceBasinState]:
    """Step 4: from basins to cells, the labels in place; the regions' edges are still empty."""
    labels, sizes, _ = basins
    count = sizes.size - 1
    on_face = np.flatnonzero(sides)
    if settings.s_min > 1:
        best = best_edges(affinity, labels, sizes, sides > 0, settings.s_min, settings.t_size)
        roots = join_small(count, sizes, best, sides > 0, settings.s_min)
        cell, _, cells = number_roots(roots, np.zeros(count + 1, np.bool_))
        renumber(labels.reshape(-1), cell)
        key, target = best.key[on_face], cell[best.target[on_face]]
        pairs = best_pairs(best.pairs, face_numbers)
        del best, roots
    else:
        cell, cells = np.arange(count + 1, dtype=np.uint32), count
        key, target = np.zeros(on_face.size, np.int64), np.zeros(on_face.size, np.uint32)
        pairs = empty(BasinPairs)
    open_ = np.zeros(cells + 1, np.bool_)
    open_[cell[on_face]] = True
    open_[target] = True  # what a part of a basin may pick, once it's known in full
    open_[0] = False
    state = FaceBasinState(sides[on_face], sizes[on_face], key, cell[on_face], target, pairs)
    cell_sizes = add_by_number(sizes, cell, cells)
    region_of = np.arange(cells + 1, dtype=np.uint32)
    return BlockRegions(labels, region_of, cell_sizes, open_, empty(Edges)), state


def link_small(regions: BlockRegions, settings: ExactSettings) -> None:
    """Step 6: size-limited linkage, in place."""
    if settings.s2 <= 1:
        return
    sizes = regions.sizes.copy()
    roots = size_limited(regions.n, regions.edges, sizes, regions.open_, settings)
    del sizes
    numbers, count = _renumber_regions(regions, roots, open_first=False)
    edges = regions.edges
    renumber(edges.u, numbers)
    renumber(edges.v, numbers)
    merged = aggregate(count, *edges)
    if merged.u.size < edges.u.size:  # often a tenth: don't keep the rest alive
        merged = Edges._make(column.copy() for column in merged)
    regions.edges = merged


def link_by_mean(
    regions: BlockRegions, least_score: int, records: MergeRecords | None = None
) -> int:
    """Step 7: mean linkage, in place; returns how many merges it was.

    Regions are numbered anew, open ones first, and all edges that are left are kept. ``records``
    has room for them; it names them as they were numbered before.
    """
    rank = regions.edges.last.astype(np.uint32)
    regions.edges = edges = regions.edges._replace(last=np.zeros(0, np.int64))
    linkage = mean_linkage(regions.n, edges, rank, regions.open_, least_score, records)
    numbers, _ = _renumber_regions(regions, linkage.roots, open_first=True)
    left = linkage.u > 0
    regions.edges = Edges(
        numbers[linkage.u[left]],
        numbers[linkage.v[left]],
        edges.sum[left],
        edges.count[left],
        rank[left].astype(np.int64),
        edges.key[left],
    )
    return linkage.merges


def _renumber_regions(
    regions: BlockRegions, roots: UInt32, *, open_first: bool
) -> tuple[UInt32, int]:
    """Number the sets of ``roots`` densely: sizes are added up, opens are those of the roots."""
    first = regions.open_ if open_first else np.zeros(roots.size, np.bool_)
    numbers, _, count = number_roots(roots, first)
    renumber(regions.region_of, numbers)
    regions.sizes = add_by_number(regions.sizes, numbers, count)
    is_root = roots == np.arange(roots.size)
    open_ = np.zeros(count + 1, np.bool_)
    open_[numbers[is_root]] = regions.open_[is_root]
    regions.open_ = open_
    return numbers, count
