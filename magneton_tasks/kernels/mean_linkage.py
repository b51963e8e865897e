"""Mean linkage (EXACT.md, step 7): merge the pair of regions with the highest mean affinity, again
and again, down to a threshold.

An edge's score is the mean of its voxel edges in fixed point; ties go to the lower rank, and the
rank of a merged edge is the larger of its parts'. That makes the linkage reducible: two regions
that prefer each other go on doing so whatever merges around them, so the order of merges far apart
doesn't matter (EXACT.md, P2 and P3). An open region isn't known in full; whoever prefers an open
region waits for the join, and is open from then on.

How the graph is kept::

    edge e between the regions 7 and 9:   ends[2e] = 7   ends[2e + 1] = 9   (0, 0 once it is gone)

    region 7:  head -> half-edge -> half-edge -> ... <- tail      half-edge h and h ^ 1 are one edge

To merge u into v, u's list is appended to v's. Which of u's neighbours v has too is looked up in
`Marks`, written by one walk along v's list; or, for a v with more than `HUB_DEGREE` neighbours,
in a table of pairs, as walking along the list of a hub again and again would go quadratic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.edge_heap import Heap, heap_key, heapify, score, sink
from magneton_tasks.kernels.pair_table import PairTable, edge_of, new_pair_table, note
from magneton_tasks.kernels.region_graph import (
    MAX_SUM,
    Index,
    check_sums,
    index_dtype,
    sum_too_large,
)
from magneton_tasks.kernels.residual import Edges, Int64, Mask, UInt32

#: Regions with more neighbours than this are looked up in the pair table.
HUB_DEGREE = 64
_MAX_RANK = (1 << 32) - 1


class Linkage(NamedTuple):
    """What mean linkage made of n regions and m edges."""

    roots: UInt32
    """(n + 1,): the smallest region of each one's set."""
    u: UInt32
    v: UInt32
    """(m,): roots at the ends of each edge that is left; 0, 0: gone."""
    merges: int


class _Graph(NamedTuple):
    """24 B an edge, 21 B a region."""

    ends: UInt32
    sum: Int64
    count: Int64
    rank: UInt32
    key: Int64
    following: Index
    """Next half-edge in the list of the same region; -1: none."""
    head: Index
    tail: Index
    degree: Index
    """Neighbours; may be too large by edges that merged at their other end."""
    is_hub: Mask


class _Marks(NamedTuple):
    """8 B a region: which edge led to it from the region last walked along."""

    edge: Index
    merge: Index
    """Number of the merge that wrote ``edge``: nothing needs to be cleared."""


def mean_linkage(n: int, edges: Edges, rank: UInt32, open_: Mask, least_score: int) -> Linkage:
    """Merge regions in descending order of (score, -rank), while the score is high enough.

    Peak above the arguments: 28 B an edge (44 beyond 2^30), 12 B for each that is queued, and 33 B a
    region.

    Parameters
    ----------
    n
        The regions are 1..n.
    edges
        As of `region_graph.aggregate`; ``last`` isn't read. **sum, count and key are written to**:
        of edges that are left they are up to date. u and v stay.
    rank
        uint32 (edges,): distinct; the lower one wins a tie. **Written to** likewise.
    open_
        bool (n + 1,): regions that may still grow elsewhere. **Written to**: opens spread; read it
        at roots.
    least_score
        `ExactSettings.least_score`.

    Raises
    ------
    BadDataError
        If there are more edges than ranks, or a sum reaches `region_graph.MAX_SUM`.
    """
    if edges.u.size > _MAX_RANK:
        raise BadDataError(
            f"{edges.u.size} edges in one region graph, more than {_MAX_RANK}",
            "join fewer blocks at a time",
        )
    check_sums(edges)
    index = np.zeros(0, index_dtype(edges.u.size, n))
    ends, roots, merges = _link(
        n, edges.u, edges.v, edges.sum, edges.count, rank, edges.key, open_, least_score, index
    )
    if merges < 0:
        raise sum_too_large()
    check_sums(edges)
    return Linkage(roots, ends[0::2], ends[1::2], merges)


@njit(cache=True, nogil=True)
def _link(
    n: int,
    u: UInt32,
    v: UInt32,
    sum_: Int64,
    count: Int64,
    rank: UInt32,
    key: Int64,
    open_: Mask,
    least_score: int,
    index: Index,
) -> tuple[UInt32, UInt32, int]:
    """Ends, roots and the number of merges; -1 if the sum of an edge that merges is too large.

    ``index`` is empty: its dtype is that of all indices.
    """
    graph = _build(n, u, v, sum_, count, rank, key, index)
    heap = _queue(graph, open_, least_score, index)
    length = heap.keys.size
    roots = np.arange(n + 1).astype(np.uint32)
    marks = _Marks(np.full(n + 1, -1, index.dtype), np.full(n + 1, -1, index.dtype))
    table = new_pair_table(index)
    merges = 0
    while length > 0:
        edge = heap.edges[0]
        a = graph.ends[2 * edge]
        b = graph.ends[2 * edge + 1]
        merge = False
        if a != 0 and not (open_[a] and open_[b]):
            now = heap_key(sum_[edge], count[edge], rank[edge])
            if now != heap.keys[0]:  # it went down since it was queued
                if score(sum_[edge], count[edge]) >= least_score:
                    sink(heap, length, 0, now, edge)
                    continue
            elif open_[a] or open_[b]:
                open_[a] = True
                open_[b] = True
            else:
                merge = True
        length -= 1
        if length > 0:
            sink(heap, length, 0, heap.keys[length], heap.edges[length])
        if not merge:
            continue
        if sum_[edge] >= MAX_SUM:
            return graph.ends, roots, -1
        if graph.degree[a] > graph.degree[b]:
            a, b = b, a
        roots[a] = b
        table = _merge(graph, marks, table, merges, edge, a, b)
        merges += 1
    _name_by_smallest(roots, graph.ends, open_)
    return graph.ends, roots, merges


@njit(cache=True, nogil=True)
def _build(
    n: int,
    u: UInt32,
    v: UInt32,
    sum_: Int64,
    count: Int64,
    rank: UInt32,
    key: Int64,
    index: Index,
) -> _Graph:
    """The lists of half-edges; those of a region in the order of the edges."""
    graph = _Graph(
        np.empty(2 * u.size, np.uint32),
        sum_,
        count,
        rank,
        key,
        np.full(2 * u.size, -1, index.dtype),
        np.full(n + 1, -1, index.dtype),
        np.full(n + 1, -1, index.dtype),
        np.zeros(n + 1, index.dtype),
        np.zeros(n + 1, np.bool_),
    )
    for edge in range(u.size):
        graph.ends[2 * edge] = u[edge]
        graph.ends[2 * edge + 1] = v[edge]
        for half in range(2 * edge, 2 * edge + 2):
            _append(graph, graph.ends[half], half)
            graph.degree[graph.ends[half]] += 1
    return graph


@njit(cache=True, nogil=True)
def _append(graph: _Graph, region: int, half: int) -> None:
    """Put a half-edge, which points to nothing, at the end of a region's list."""
    if graph.tail[region] < 0:
        graph.head[region] = half
    else:
        graph.following[graph.tail[region]] = half
    graph.tail[region] = half


@njit(cache=True, nogil=True)
def _queue(graph: _Graph, open_: Mask, least_score: int, index: Index) -> Heap:
    """All edges that may merge anything; counted first, so that nothing is held in vain."""
    length = 0
    for edge in range(graph.sum.size):
        length += _may_merge(graph, open_, least_score, edge)
    heap = Heap(np.empty(length, np.uint64), np.empty(length, index.dtype))
    length = 0
    for edge in range(graph.sum.size):
        if _may_merge(graph, open_, least_score, edge):
            heap.keys[length] = heap_key(graph.sum[edge], graph.count[edge], graph.rank[edge])
            heap.edges[length] = edge
            length += 1
    heapify(heap, length)
    return heap


@njit(cache=True, nogil=True)
def _may_merge(graph: _Graph, open_: Mask, least_score: int, edge: int) -> bool:
    """What fails here fails later too: scores only fall and opens only spread."""
    if open_[graph.ends[2 * edge]] and open_[graph.ends[2 * edge + 1]]:
        return False
    return score(graph.sum[edge], graph.count[edge]) >= least_score


@njit(cache=True, nogil=True)
def _merge(
    graph: _Graph, marks: _Marks, table: PairTable, merge: int, edge: int, u: int, v: int
) -> PairTable:
    """Merge region u into v across ``edge``; returns the pair table to go on with."""
    graph.ends[2 * edge] = 0
    graph.ends[2 * edge + 1] = 0
    graph.degree[u] -= 1
    graph.degree[v] -= 1
    if not graph.is_hub[v]:
        _mark_neighbours(graph, marks, merge, v)
    half = graph.head[u]
    while half >= 0:
        following = graph.following[half]
        if graph.ends[half] != 0:
            w = graph.ends[half ^ 1]
            parallel = _edge_between(graph, marks, table, merge, v, w)
            if parallel < 0 or _absorb(graph, half >> 1, parallel, w):
                graph.degree[v] += parallel < 0
                graph.ends[half] = v
                graph.following[half] = -1
                _append(graph, v, half)
                if graph.is_hub[v] or graph.is_hub[w]:
                    table = note(table, graph.ends, v, w, half >> 1)
        half = following
    graph.head[u] = -1
    if not graph.is_hub[v] and graph.degree[v] > HUB_DEGREE:
        table = _make_hub(graph, table, v)
    return table


@njit(cache=True, nogil=True)
def _mark_neighbours(graph: _Graph, marks: _Marks, merge: int, v: int) -> None:
    """Mark each neighbour of v with its edge; takes edges that are gone out of v's list."""
    half = graph.head[v]
    previous = -1
    while half >= 0:
        following = graph.following[half]
        if graph.ends[half] != 0:
            w = graph.ends[half ^ 1]
            marks.edge[w] = half >> 1
            marks.merge[w] = merge
            previous = half
        elif previous < 0:
            graph.head[v] = following
        else:
            graph.following[previous] = following
        half = following
    graph.tail[v] = previous


@njit(cache=True, nogil=True)
def _edge_between(
    graph: _Graph, marks: _Marks, table: PairTable, merge: int, v: int, w: int
) -> int:
    """The edge between v, whose neighbours are marked or which is a hub, and w; -1: none."""
    if graph.is_hub[v]:
        edge = edge_of(table, v, w)
        return edge if edge >= 0 and graph.ends[2 * edge] != 0 else np.int64(-1)
    return np.int64(marks.edge[w]) if marks.merge[w] == merge else np.int64(-1)


@njit(cache=True, nogil=True)
def _absorb(graph: _Graph, moved: int, parallel: int, w: int) -> bool:
    """Make one of two edges to w; whether that is the moved one.

    The edge with the higher heap key stays: what is queued for it is an upper bound of the merged
    one's, as that is a mean of both.
    """
    keep_moved = heap_key(graph.sum[moved], graph.count[moved], graph.rank[moved]) > heap_key(
        graph.sum[parallel], graph.count[parallel], graph.rank[parallel]
    )
    kept = moved if keep_moved else parallel
    gone = parallel if keep_moved else moved
    graph.sum[kept] += graph.sum[gone]
    graph.count[kept] += graph.count[gone]
    graph.rank[kept] = max(graph.rank[kept], graph.rank[gone])
    graph.key[kept] = max(graph.key[kept], graph.key[gone])
    graph.ends[2 * gone] = 0
    graph.ends[2 * gone + 1] = 0
    graph.degree[w] -= 1
    return keep_moved


@njit(cache=True, nogil=True)
def _make_hub(graph: _Graph, table: PairTable, v: int) -> PairTable:
    """Note all edges of v in the pair table."""
    graph.is_hub[v] = True
    half = graph.head[v]
    while half >= 0:
        if graph.ends[half] != 0:
            table = note(table, graph.ends, v, graph.ends[half ^ 1], half >> 1)
        half = graph.following[half]
    return table


@njit(cache=True, nogil=True)
def _name_by_smallest(roots: UInt32, ends: UInt32, open_: Mask) -> None:
    """From roots that the degrees chose, to the smallest region of each set; opens too."""
    names = np.zeros(roots.size, np.uint32)  # of roots
    for i in range(1, roots.size):
        root = i
        while roots[root] != root:
            roots[root] = roots[roots[root]]
            root = roots[root]
        if names[root] == 0:
            names[root] = i
            open_[i] = open_[root]
        names[i] = names[root]
    roots[:] = names
    for half in range(ends.size):
        ends[half] = names[ends[half]]
