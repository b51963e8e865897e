"""What a task does to its regions: both linkages among its own, while all others stand still.

Own regions 1..own are complete but for those that must become one with a ghost. Keys between own
regions are exact; those to ghosts are upper bounds, and sizes of ghosts lower ones. So what merges
here merges in the volume as well, and what doesn't and isn't open is final.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.mean_linkage import MergeRecords, mean_linkage
from magneton_tasks.kernels.exact.position_ranks import rank_positions
from magneton_tasks.kernels.exact.region_graph import aggregate
from magneton_tasks.kernels.exact.residual import Edges, Mask, UInt8, UInt32
from magneton_tasks.kernels.exact.rounds.tables import MUST, Int64
from magneton_tasks.kernels.exact.size_limited_linkage import size_limited
from magneton_tasks.kernels.union_find import flatten, renumber, unite


class Linked(NamedTuple):
    """What became of the own regions 1..own and the ghosts own + 1..n."""

    roots: UInt32
    """(n + 1,): the smallest of each one's set."""
    open_: Mask
    """(n + 1,), read at roots."""
    edges: Edges
    """Left between open sets, by roots."""
    united: UInt32
    """(n + 1,): roots before mean linkage."""
    merges: MergeRecords
    """By mean linkage, in order."""
    swallowed: Int64
    """(parts, 2): sum and number of the voxel edges inside the sets of ``united``."""


def link(
    own: int,
    sizes: Int64,
    edges: Edges,
    unions: Int64,
    settings: ExactSettings,
    part: UInt8,
    parts: int,
) -> Linked:
    """Merge what can be merged.

    Peak: about 100 B an edge, 60 B a region.

    Parameters
    ----------
    own
        Regions 1..own are own.
    sizes
        int64 (n + 1,): voxels.
    edges
        Between own regions, and from own ones to ghosts, any number of rows a pair; a key of
        `tables.MUST` unites. **Written to**.
    unions
        int64 (rows, 2): own regions that are one.
    settings
        The same as those of the blocks.
    part, parts
        uint8 (n + 1,): the part of the volume that each region is in; how many there are.

    Raises
    ------
    BadDataError
        If a sum of affinities is too large, see `region_graph.MAX_SUM`.
    """
    n = sizes.size - 1
    roots, open_ = _unite_certain(own, n, edges.u, edges.v, edges.key, unions)
    # Rows of the same pair may stay: all but the one with the largest key come too late.
    swallowed = np.zeros((parts, 2), np.int64)
    edges = _renamed(edges, roots, part, sizes, swallowed)
    of_sets = _set_sizes(roots, sizes)
    small = size_limited(n, edges, of_sets, open_, settings, own + 1)
    if _pass_on(roots, small):
        edges = _renamed(edges, small, part, of_sets, swallowed)
    del of_sets
    united = roots.copy()
    rest, merges = _merge_by_mean(edges, roots, open_, least_score(settings.threshold))
    return Linked(roots, open_, rest, united, merges, swallowed)


def _merge_by_mean(
    edges: Edges, roots: UInt32, open_: Mask, least: int
) -> tuple[Edges, MergeRecords]:
    """Mean linkage of the sets that have edges; what is left between open ones, and what merged.

    These sets are few, mostly: they get numbers of their own, in the same order. ``edges``, ``roots``
    and ``open_`` are written to.
    """
    sets = _number_ends(roots.size, edges.u, edges.v)
    n = sets.size - 1
    graph = aggregate(n, *edges)
    rank = rank_positions(last := graph.last.copy())
    records, opens = MergeRecords.room(n), open_[sets]
    linkage = mean_linkage(n, graph, rank, opens, least, records)
    both_open = np.flatnonzero((linkage.u > 0) & opens[linkage.u] & opens[linkage.v])
    rest = Edges(
        sets[linkage.u[both_open]],
        sets[linkage.v[both_open]],
        graph.sum[both_open],
        graph.count[both_open],
        last[rank[both_open]],
        graph.key[both_open],
    )
    merges = MergeRecords._make(column[: linkage.merges] for column in records)
    open_[sets] = opens
    further = np.arange(roots.size, dtype=np.uint32)
    further[sets] = sets[linkage.roots]
    renumber(roots, further)
    return rest, merges._replace(gone=sets[merges.gone], kept=sets[merges.kept])


@njit(nogil=True)
def _number_ends(size: int, u: UInt32, v: UInt32) -> UInt32:
    """Number the regions that have edges 1, 2, ... in their order, in ``u`` and ``v`` themselves.

    Returns the region of each number; 0 of 0. ``size``: above all regions.
    """
    numbers = np.zeros(size, np.uint32)
    for k in range(u.size):
        numbers[u[k]] = 1
        numbers[v[k]] = 1
    regions = np.zeros(np.count_nonzero(numbers) + 1, np.uint32)
    number = 0
    for region in range(size):
        if numbers[region] > 0:
            number += 1
            numbers[region] = number
            regions[number] = region
    for k in range(u.size):
        u[k] = numbers[u[k]]
        v[k] = numbers[v[k]]
    return regions


@njit(nogil=True)
def _unite_certain(
    own: int, n: int, u: UInt32, v: UInt32, key: Int64, unions: Int64
) -> tuple[UInt32, Mask]:
    """Own regions that are one; those that are one with a ghost are open, and so are ghosts."""
    roots = np.arange(n + 1).astype(np.uint32)
    for k in range(len(unions)):
        unite(roots, unions[k, 0], unions[k, 1])
    for k in range(u.size):
        if key[k] >= MUST and u[k] <= own and v[k] <= own:
            unite(roots, u[k], v[k])
    flatten(roots)
    open_ = np.zeros(n + 1, np.bool_)
    open_[own + 1 :] = True
    for k in range(u.size):
        if key[k] >= MUST and (u[k] > own or v[k] > own):
            open_[roots[min(u[k], v[k])]] = True
    return roots, open_


def _renamed(edges: Edges, roots: UInt32, part: UInt8, sizes: Int64, swallowed: Int64) -> Edges:
    """Edges between sets; made of the first rows of ``edges``, which are written to."""
    kept = slice(_rename(roots, part, sizes, swallowed, *edges))
    return Edges._make(column[kept] for column in edges)


@njit(nogil=True)
def _rename(
    roots: UInt32,
    part: UInt8,
    sizes: Int64,
    swallowed: Int64,
    u: UInt32,
    v: UInt32,
    sum_: Int64,
    count: Int64,
    last: Int64,
    key: Int64,
) -> int:
    """Move edges between sets to the front, add up the others; returns how many there are."""
    kept = 0
    for k in range(u.size):
        root_u, root_v = roots[u[k]], roots[v[k]]
        if root_u != root_v:
            u[kept], v[kept] = root_u, root_v
            sum_[kept], count[kept] = sum_[k], count[k]
            last[kept], key[kept] = last[k], key[k]
            kept += 1
        else:
            smaller = u[k] if sizes[u[k]] < sizes[v[k]] else v[k]
            swallowed[part[smaller], 0] += sum_[k]
            swallowed[part[smaller], 1] += count[k]
    return kept


@njit(nogil=True)
def _set_sizes(roots: UInt32, sizes: Int64) -> Int64:
    """int64 (n + 1,): of each root's set."""
    total = np.zeros(sizes.size, np.int64)
    for i in range(1, sizes.size):
        total[roots[i]] += sizes[i]
    return total


@njit(nogil=True)
def _pass_on(roots: UInt32, further: UInt32) -> bool:
    """Whether sets have merged further; ``roots`` are then theirs."""
    merged = False
    for i in range(roots.size):
        merged |= further[roots[i]] != roots[i]
        roots[i] = further[roots[i]]
    return merged
