"""Size-limited single linkage (EXACT.md, step 6): small regions join across their best voxel edge.

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
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.region_graph import Index
from magneton_tasks.kernels.exact.residual import Edges, Int64, Mask, UInt32
from magneton_tasks.kernels.union_find import find, flatten


def size_limited(
    n: int,
    edges: Edges,
    sizes: Int64,
    open_: Mask,
    settings: ExactSettings,
    ghosts_from: int | None = None,
) -> UInt32:
    """Merge small regions; 4 B a node, 24 B an edge that may merge anything.

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
    ghosts = n + 1 if ghosts_from is None else ghosts_from
    if settings.s2 > 1:
        order = _candidates(
            edges.u, edges.v, edges.key, sizes, open_, settings.s2, least_key(settings.t_size)
        )
        falling = edges.key[order]
        np.negative(falling, out=falling)
        order = order[np.argsort(falling)]
        del falling
        _merge_in_order(order, edges.u, edges.v, sizes, open_, settings.s2, ghosts, roots)
    return roots


@njit(nogil=True)
def _may_merge(
    u: int, v: int, key: int, sizes: Int64, open_: Mask, s2: int, least_key: int
) -> bool:
    """What fails here fails later too: sizes only grow and opens only spread."""
    is_small = sizes[u] < s2 or sizes[v] < s2
    return key > least_key and u != v and is_small and not (open_[u] and open_[v])


@njit(nogil=True)
def _candidates(
    u: UInt32, v: UInt32, key: Int64, sizes: Int64, open_: Mask, s2: int, least_key: int
) -> Int64:
    """Edges worth sorting, int64."""
    count = 0
    for k in range(u.size):
        count += _may_merge(u[k], v[k], key[k], sizes, open_, s2, least_key)
    found = np.empty(count, np.int64)
    count = 0
    for k in range(u.size):
        if _may_merge(u[k], v[k], key[k], sizes, open_, s2, least_key):
            found[count] = k
            count += 1
    return found


@njit(nogil=True)
def _merge_in_order(
    order: Index,
    u: UInt32,
    v: UInt32,
    sizes: Int64,
    open_: Mask,
    s2: int,
    ghosts: int,
    roots: UInt32,
) -> None:
    """The Kruskal pass; ``roots`` come as singletons and go flat."""
    for i in range(order.size):
        a = find(roots, u[order[i]])
        b = find(roots, v[order[i]])
        if a == b or (open_[a] and open_[b]) or (sizes[a] >= s2 and sizes[b] >= s2):
            continue
        unsure = (open_[a] and sizes[a] < s2) or (open_[b] and sizes[b] < s2)
        if unsure or a >= ghosts or b >= ghosts:
            open_[a] = True
            open_[b] = True
            continue
        if b < a:
            a, b = b, a
        roots[b] = a
        sizes[a] += sizes[b]
        open_[a] |= open_[b]
    flatten(roots)
