"""Size-limited single linkage: small regions join across their best voxel edge.

Edges are taken from the largest key to the smallest, and merge two regions while one of them has
fewer than s2 voxels. A merged pair's key is the larger one of its parts', so keys never change and
one Kruskal pass is the whole linkage.

An open region isn't known in full, and its partial size is a lower bound: a pair that is large
already stays large. A complete small region joins an open one that is large for certain, whatever
else that one grows by. Anybody else who would merge with an open region is open too, and waits.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS, least_key
from magneton_tasks.kernels.exact.position_ranks import rank_positions
from magneton_tasks.kernels.exact.region_graph import Index, index_dtype
from magneton_tasks.kernels.exact.residual import Edges, Int64, Mask, UInt32
from magneton_tasks.kernels.union_find import find, flatten

#: Groups of edges: affinities 0 to 255, and one above for keys above all keys.
_HIGHEST = 256
#: Fewer edges than this are sorted by insertion.
_FEW = 32


def size_limited(
    n: int,
    edges: Edges,
    sizes: Int64,
    open_: Mask,
    settings: ExactSettings,
    ghosts_from: int | None = None,
) -> UInt32:
    """Merge small regions.

    Peak: 4 B a node, 4 B an edge that may merge anything, 32 B one of those of one affinity that
    still may when they come up; more beyond 2^30 edges.

    Parameters
    ----------
    n
        The regions are 1..n.
    edges
        Any number of rows a pair, of which the one with the largest key counts; not written to.
    sizes
        int64 (n + 1,): voxels of each region. **Written to**: those of a root are its set's.
    open_
        bool (n + 1,): regions that may still grow elsewhere. **Written to**: opens spread; read it
        at roots.
    ghosts_from
        Regions from this number on are in another task's hands, and merge with nobody here.

    Returns
    -------
    uint32 (n + 1,)
        Root of each region: the smallest of its set.
    """
    roots = np.arange(n + 1, dtype=np.uint32)
    if settings.s2 > 1:
        s2, key_above = settings.s2, least_key(settings.t_size)
        ends = edges.u, edges.v, edges.key
        starts = _count_candidates(*ends, sizes, open_, s2, key_above)
        order = np.empty(int(starts[-1]), index_dtype(edges.u.size, n))
        _list_candidates(*ends, sizes, open_, s2, key_above, starts, order)
        ghosts = n + 1 if ghosts_from is None else ghosts_from
        _merge(starts, order, *ends, sizes, open_, s2, ghosts, roots)
    return roots


@njit(nogil=True)
def _falling(key: np.int64) -> np.int64:
    """The group of an edge: that of the highest affinity is 0."""
    return _HIGHEST - (-(-key >> KEY_BITS))


@njit(nogil=True)
def _may_merge(
    u: int, v: int, key: int, sizes: Int64, open_: Mask, s2: int, least_key: int
) -> bool:
    """What fails here fails later too: sizes only grow and opens only spread."""
    is_small = sizes[u] < s2 or sizes[v] < s2
    return key > least_key and u != v and is_small and not (open_[u] and open_[v])


@njit(nogil=True)
def _count_candidates(
    u: UInt32, v: UInt32, key: Int64, sizes: Int64, open_: Mask, s2: int, least_key: int
) -> Int64:
    """int64 (affinities + 1,): where the candidates of each affinity begin, and the end."""
    starts = np.zeros(_HIGHEST + 2, np.int64)
    for k in range(u.size):
        if _may_merge(u[k], v[k], key[k], sizes, open_, s2, least_key):
            starts[_falling(key[k]) + 1] += 1
    for group in range(1, starts.size):
        starts[group] += starts[group - 1]
    return starts


@njit(nogil=True)
def _list_candidates(
    u: UInt32,
    v: UInt32,
    key: Int64,
    sizes: Int64,
    open_: Mask,
    s2: int,
    least_key: int,
    starts: Int64,
    order: Index,
) -> None:
    """Fill ``order`` with the candidates' indices, by falling affinities."""
    free = starts.copy()
    for k in range(u.size):
        if _may_merge(u[k], v[k], key[k], sizes, open_, s2, least_key):
            group = _falling(key[k])
            order[free[group]] = k
            free[group] += 1


@njit(nogil=True)
def _merge(
    starts: Int64,
    order: Index,
    u: UInt32,
    v: UInt32,
    key: Int64,
    sizes: Int64,
    open_: Mask,
    s2: int,
    ghosts: int,
    roots: UInt32,
) -> None:
    """The Kruskal pass, affinity by affinity; ``roots`` come as singletons and go flat.

    Most edges can't merge anything any more when their turn comes: only the others are sorted.
    """
    for group in range(starts.size - 1):
        left = starts[group]
        for i in range(starts[group], starts[group + 1]):
            a = find(roots, u[order[i]])
            b = find(roots, v[order[i]])
            order[left] = order[i]
            is_small = sizes[a] < s2 or sizes[b] < s2
            left += a != b and is_small and not (open_[a] and open_[b])
        ours = order[starts[group] : left]
        _sort_by_key(ours, key)
        for k in ours:
            _merge_ends(find(roots, u[k]), find(roots, v[k]), sizes, open_, s2, ghosts, roots)
    flatten(roots)


@njit(nogil=True)
def _sort_by_key(order: Index, key: Int64) -> None:
    """Sort indices of edges by falling keys, in place."""
    if order.size < _FEW:
        for i in range(1, order.size):
            moved = order[i]
            k = i
            while k > 0 and key[order[k - 1]] < key[moved]:
                order[k] = order[k - 1]
                k -= 1
            order[k] = moved
        return
    unsorted = order.copy()
    rank = rank_positions(-key[order])
    for i in range(order.size):
        order[rank[i]] = unsorted[i]


@njit(nogil=True)
def _merge_ends(
    a: int, b: int, sizes: Int64, open_: Mask, s2: int, ghosts: int, roots: UInt32
) -> None:
    """What an edge between two roots does when its turn comes."""
    if a == b or (open_[a] and open_[b]) or (sizes[a] >= s2 and sizes[b] >= s2):
        return
    unsure = (open_[a] and sizes[a] < s2) or (open_[b] and sizes[b] < s2)
    if unsure or a >= ghosts or b >= ghosts:
        open_[a] = True
        open_[b] = True
        return
    if b < a:
        a, b = b, a
    roots[b] = a
    sizes[a] += sizes[b]
    open_[a] |= open_[b]
