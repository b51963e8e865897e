"""What a task does to its regions: both linkages among its own, while all others stand still.

Own regions 1..own are complete but for those that must become one with a ghost. Keys between own
regions are exact; those to ghosts are upper bounds, and sizes of ghosts lower ones. So what merges
here merges in the volume as well, and what doesn't and isn't open is final.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.mean_linkage import MergeRecords, mean_linkage
from magneton_tasks.kernels.exact.position_ranks import rank_positions
from magneton_tasks.kernels.exact.region_graph import aggregate
from magneton_tasks.kernels.exact.residual import Edges, Mask, UInt32
from magneton_tasks.kernels.exact.rounds.parts import unite_pairs
from magneton_tasks.kernels.exact.rounds.tables import MUST, Int64
from magneton_tasks.kernels.exact.size_limited_linkage import size_limited


class Linked(NamedTuple):
    """What became of the own regions 1..own and the ghosts own + 1..n."""

    roots: Int64
    """(n + 1,): the smallest of each one's set."""
    open_: Mask
    """(n + 1,), read at roots."""
    edges: Edges
    """Left between open sets, by roots."""
    united: Int64
    """(n + 1,): roots before mean linkage."""
    merges: MergeRecords
    """By mean linkage, in order."""
    between_sum: int
    between_count: int
    """Of the voxel edges between the sets of ``united``."""


def link(own: int, sizes: Int64, edges: Edges, unions: Int64, settings: ExactSettings) -> Linked:
    """Merge what can be merged.

    Peak: about 100 B an edge, 60 B a region.

    Parameters
    ----------
    own
        Regions 1..own are own.
    sizes
        int64 (n + 1,): voxels.
    edges
        Between own regions, and from own ones to ghosts; a key of `tables.MUST` unites. **Written
        to**.
    unions
        int64 (rows, 2): own regions that are one.
    settings
        The same as those of the blocks.

    Raises
    ------
    BadDataError
        If a sum of affinities is too large, see `region_graph.MAX_SUM`.
    """
    n = sizes.size - 1
    roots, open_ = _unite_certain(own, n, edges, unions)
    size = np.zeros(n + 1, np.int64)
    np.add.at(size, roots, sizes)
    graph = aggregate(n, _new_ends(roots, edges.u), _new_ends(roots, edges.v), *edges[2:])
    small = size_limited(n, graph, size, open_, settings, own + 1)
    if (small[roots] != roots).any():
        graph = aggregate(n, small[graph.u], small[graph.v], *graph[2:])
        roots = small[roots].astype(np.int64)
    between = int(graph.sum.sum()), int(graph.count.sum())
    rank = rank_positions(last := graph.last.copy())
    records = MergeRecords.room(n)
    linkage = mean_linkage(n, graph, rank, open_, least_score(settings.threshold), records)
    left = np.flatnonzero((linkage.u > 0) & open_[linkage.u] & open_[linkage.v])
    rest = Edges(
        linkage.u[left],
        linkage.v[left],
        graph.sum[left],
        graph.count[left],
        last[rank[left]],
        graph.key[left],
    )
    merges = MergeRecords._make(column[: linkage.merges] for column in records)
    return Linked(
        linkage.roots[roots].astype(np.int64), open_, rest, roots, merges, between[0], between[1]
    )


def _unite_certain(own: int, n: int, edges: Edges, unions: Int64) -> tuple[Int64, Mask]:
    """Own regions that are one; those that are one with a ghost are open, and so are ghosts."""
    must = edges.key >= MUST
    u, v = edges.u[must].astype(np.int64), edges.v[must].astype(np.int64)
    both = (u <= own) & (v <= own)
    a, b = np.append(u[both], unions[:, 0]), np.append(v[both], unions[:, 1])
    roots = unite_pairs(n + 1, a, b)
    open_ = np.zeros(n + 1, np.bool_)
    open_[own + 1 :] = True
    open_[roots[np.minimum(u, v)[~both]]] = True
    return roots, open_


def _new_ends(roots: Int64, ends: UInt32) -> UInt32:
    return roots[ends].astype(np.uint32)
