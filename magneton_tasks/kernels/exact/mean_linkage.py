"""Mean linkage: merge the pair of regions with the highest mean affinity, again
and again, down to a threshold.

An edge's score is the mean of its voxel edges in fixed point; ties go to the lower rank, and the
rank of a merged edge is the larger of its parts'. That makes the linkage reducible: two regions
that prefer each other go on doing so whatever merges around them, so the order of merges far apart
doesn't matter. An open region isn't known in full; whoever prefers an open
region waits for the join, and is open from then on.

To merge u into v, u's `half_edges` are appended to v's. Which of u's neighbours v has too is looked
up in marks, written by one walk along v's list; or, for a v with more than `HUB_DEGREE` neighbours,
in a `pair_table`, as walking along the list of a hub again and again would go quadratic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.edge_heap import UInt64, heap_key, heapify, score, sink
from magneton_tasks.kernels.exact.half_edges import (
    DEGREE,
    EDGE,
    HEAD,
    MERGE,
    append,
    half_edges,
    mark_neighbours,
)
from magneton_tasks.kernels.exact.pair_table import edge_of, new_pair_table, note
from magneton_tasks.kernels.exact.region_graph import (
    MAX_SUM,
    Index,
    check_sums,
    index_dtype,
    sum_too_large,
)
from magneton_tasks.kernels.exact.residual import Edges, Int64, Mask, UInt32

#: Regions with more neighbours than this are looked up in the pair table.
HUB_DEGREE = 64
#: Ranks are uint32.
MAX_EDGES = (1 << 32) - 1


class MergeRecords(NamedTuple):
    """What merged, in descending order of scores; rows beyond the number of merges mean nothing.

    At its merge each side is the root of its set, so a record names a set by it.
    """

    gone: UInt32
    kept: UInt32
    scores: UInt32
    """As `edge_heap.score`."""
    sums: Int64
    counts: Int64
    """Of the voxel edges that were between the two."""

    @classmethod
    def room(cls, regions: int) -> MergeRecords:
        """For all merges of so many regions; of none, nothing is recorded."""
        gone, kept, scores = (np.empty(regions, np.uint32) for _ in range(3))
        sums, counts = (np.empty(regions, np.int64) for _ in range(2))
        return cls(gone, kept, scores, sums, counts)


class Linkage(NamedTuple):
    """What mean linkage made of n regions and m edges."""

    roots: UInt32
    """(n + 1,): the smallest region of each one's set."""
    u: UInt32
    v: UInt32
    """(m,): roots at the ends of each edge that is left, in any order; 0, 0: gone."""
    merges: int


def mean_linkage(
    n: int,
    edges: Edges,
    rank: UInt32,
    open_: Mask,
    least_score: int,
    records: MergeRecords | None = None,
) -> Linkage:
    """Merge regions in descending order of (score, -rank), while the score is high enough.

    Peak above the arguments: 16 B an edge, 12 B for each that is queued, 29 B a region and what the
    pair table takes for hubs; twice that beyond 2^30 edges.

    Parameters
    ----------
    n
        The regions are 1..n.
    edges
        As of `region_graph.aggregate`; ``last`` isn't read. **sum, count and key are written to**:
        of edges that are left they are up to date. u and v stay as they are.
    rank
        uint32 (edges,): distinct; the lower one wins a tie. **Written to** likewise.
    open_
        bool (n + 1,): regions that may still grow elsewhere. **Written to**: opens spread; read it
        at roots.
    least_score
        `fixed_point.least_score`.
    records
        Room for n merges. **Written to**.

    Raises
    ------
    BadDataError
        If there are more edges than ranks, or a sum reaches `region_graph.MAX_SUM`.
    """
    if edges.u.size > MAX_EDGES:
        raise BadDataError(
            f"{edges.u.size} edges in one region graph, more than {MAX_EDGES}",
            "join fewer blocks at a time",
        )
    check_sums(edges)
    index = np.zeros(0, index_dtype(edges.u.size, n))
    ends, roots, merges = _link(
        n,
        edges.u,
        edges.v,
        edges.sum,
        edges.count,
        rank,
        edges.key,
        open_,
        least_score,
        index,
        *(records or MergeRecords.room(0)),
    )
    if merges < 0:
        raise sum_too_large()
    check_sums(edges)
    return Linkage(roots, ends[0::2], ends[1::2], merges)


@njit(nogil=True)
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
    gone: UInt32,
    kept: UInt32,
    scores: UInt32,
    sums: Int64,
    counts: Int64,
) -> tuple[UInt32, UInt32, int]:
    """Ends, roots and merges, -1 if an edge's sum grows too large; indices as those of ``index``."""
    ends, following, lists = half_edges(n, u, v, index)
    keys, queue = _queue(ends, sum_, count, rank, open_, least_score, index)
    length = keys.size
    roots = np.arange(n + 1).astype(np.uint32)
    marks = np.full((n + 1, 2), -1, index.dtype)
    is_hub = np.zeros(n + 1, np.bool_)
    pairs, pair_edges = new_pair_table(index)
    merges = 0
    while length > 0:
        edge = queue[0]
        queued = keys[0]
        a = ends[2 * edge]
        b = ends[2 * edge + 1]
        waits = a != 0 and not (open_[a] and open_[b])
        now = heap_key(sum_[edge], count[edge], rank[edge]) if waits else queued
        if now != queued and score(sum_[edge], count[edge]) >= least_score:
            sink(keys, queue, length, 0, now, edge)  # it went down since it was queued
            continue
        length -= 1
        sink(keys, queue, length, 0, keys[length], queue[length])
        if not waits or now != queued:
            continue
        if open_[a] or open_[b]:
            open_[a] = open_[b] = True
            continue
        if sum_[edge] >= MAX_SUM:
            return ends, roots, -1
        if lists[a, DEGREE] > lists[b, DEGREE]:
            a, b = b, a
        roots[a] = b
        if gone.size > 0:
            gone[merges] = a
            kept[merges] = b
            scores[merges] = score(sum_[edge], count[edge])
            sums[merges] = sum_[edge]
            counts[merges] = count[edge]
        ends[2 * edge] = 0
        ends[2 * edge + 1] = 0
        lists[a, DEGREE] -= 1
        lists[b, DEGREE] -= 1
        if not is_hub[b]:
            mark_neighbours(ends, following, lists, marks, merges, b)
        pairs, pair_edges = _move_edges(
            ends,
            following,
            lists,
            marks,
            is_hub,
            sum_,
            count,
            rank,
            key,
            pairs,
            pair_edges,
            merges,
            a,
            b,
        )
        if not is_hub[b] and lists[b, DEGREE] > HUB_DEGREE:
            is_hub[b] = True
            pairs, pair_edges = _note_edges(ends, following, lists, pairs, pair_edges, b)
        merges += 1
    _name_by_smallest(roots, ends, open_)
    return ends, roots, merges


@njit(nogil=True)
def _queue(
    ends: UInt32,
    sum_: Int64,
    count: Int64,
    rank: UInt32,
    open_: Mask,
    least_score: int,
    index: Index,
) -> tuple[UInt64, Index]:
    """All edges that may merge anything; counted first, so that nothing is held in vain.

    The others never will: scores only fall and opens only spread.
    """
    length = 0
    for edge in range(sum_.size):
        both_open = open_[ends[2 * edge]] and open_[ends[2 * edge + 1]]
        length += not both_open and score(sum_[edge], count[edge]) >= least_score
    keys = np.empty(length, np.uint64)
    queue = np.empty(length, index.dtype)
    length = 0
    for edge in range(sum_.size):
        both_open = open_[ends[2 * edge]] and open_[ends[2 * edge + 1]]
        if not both_open and score(sum_[edge], count[edge]) >= least_score:
            keys[length] = heap_key(sum_[edge], count[edge], rank[edge])
            queue[length] = edge
            length += 1
    heapify(keys, queue)
    return keys, queue


@njit(nogil=True)
def _move_edges(
    ends: UInt32,
    following: Index,
    lists: Index,
    marks: Index,
    is_hub: Mask,
    sum_: Int64,
    count: Int64,
    rank: UInt32,
    key: Int64,
    pairs: Int64,
    pair_edges: Index,
    merge: int,
    u: int,
    v: int,
) -> tuple[Int64, Index]:
    """Move u's edges to v, where each finds its like; returns the pair table to go on with.

    v is a hub, or its neighbours are marked for this merge.
    """
    half = lists[u, HEAD]
    while half >= 0:
        next_ = following[half]
        if ends[half] != 0:
            w = ends[half ^ 1]
            parallel = -1
            if is_hub[v]:
                parallel = edge_of(pairs, pair_edges, v, w)
            elif marks[w, MERGE] == merge:
                parallel = marks[w, EDGE]
            if parallel < 0:
                lists[v, DEGREE] += 1
            else:
                lists[w, DEGREE] -= 1
            if parallel < 0 or _absorb(ends, sum_, count, rank, key, half >> 1, parallel):
                ends[half] = v
                append(following, lists, v, half)
                if is_hub[v] or is_hub[w]:
                    pairs, pair_edges = note(pairs, pair_edges, ends, v, w, half >> 1)
        half = next_
    return pairs, pair_edges


@njit(nogil=True)
def _absorb(
    ends: UInt32,
    sum_: Int64,
    count: Int64,
    rank: UInt32,
    key: Int64,
    moved: int,
    parallel: int,
) -> bool:
    """Make one of two edges; whether that is the moved one.

    The edge with the higher heap key stays: what is queued for it is an upper bound of the merged
    one's, as that is a mean of both.
    """
    keep_moved = heap_key(sum_[moved], count[moved], rank[moved]) > heap_key(
        sum_[parallel], count[parallel], rank[parallel]
    )
    kept = moved if keep_moved else parallel
    gone = parallel if keep_moved else moved
    sum_[kept] += sum_[gone]
    count[kept] += count[gone]
    rank[kept] = max(rank[kept], rank[gone])
    key[kept] = max(key[kept], key[gone])
    ends[2 * gone] = 0
    ends[2 * gone + 1] = 0
    return bool(keep_moved)


@njit(nogil=True)
def _note_edges(
    ends: UInt32, following: Index, lists: Index, pairs: Int64, pair_edges: Index, v: int
) -> tuple[Int64, Index]:
    """Note all edges of v, a new hub, in the pair table."""
    half = lists[v, HEAD]
    while half >= 0:
        if ends[half] != 0:
            pairs, pair_edges = note(pairs, pair_edges, ends, v, ends[half ^ 1], half >> 1)
        half = following[half]
    return pairs, pair_edges


@njit(nogil=True)
def _name_by_smallest(roots: UInt32, ends: UInt32, open_: Mask) -> None:
    """From roots that the degrees chose, to the smallest region of each set; opens too."""
    names = np.zeros(roots.size, np.uint32)  # of roots, and of what has been passed
    for i in range(1, roots.size):
        root = i
        while roots[root] != root:
            roots[root] = roots[roots[root]]
            root = roots[root]
        if names[root] == 0:
            names[root] = i
            open_[i] = open_[root]
        names[i] = names[root]
    for i in range(1, roots.size):
        roots[i] = names[i]
    for half in range(ends.size):
        ends[half] = names[ends[half]]
