"""Size-limited single linkage: small regions join across their best voxel edge.

Edges are taken from the largest key to the smallest, and merge two regions while one of them has
fewer than s2 voxels. A merged pair's key is the larger one of its parts', so keys never change and
one Kruskal pass is the whole linkage.

An open region isn't known in full: whoever would merge with it is open too, and waits for the join.
Its partial size is a lower bound, so a pair that is large already stays large.
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
    n: int, edges: Edges, sizes: Int64, open_: Mask, settings: ExactSettings
) -> UInt32:
    """Merge small regions; 4 B a node, 24 B an edge that may merge anything.

    Parameters
    ----------
    n
        The regions are 1..n.
    edges
        As of `region_graph.aggregate`; not written to.
    sizes
        int64 (n + 1,): voxels of each region. **Written to**: those of a root are its set's.
    open_
        bool (n + 1,): regions that may still grow elsewhere. **Written to**: opens spread; read it
        at roots.

    Returns
    -------
    uint32 (n + 1,)
        Root of each region: the smallest of its set.
    """
    roots = np.arange(n + 1, dtype=np.uint32)
    if settings.s2 > 1:
        order = _candidates(
            edges.u, edges.v, edges.key, sizes, open_, settings.s2, least_key(settings.t_size)
        )
        falling = edges.key[order]
        np.negative(falling, out=falling)
        order = order[np.argsort(falling)]
        del falling
        _merge_in_order(order, edges.u, edges.v, sizes, open_, settings.s2, roots)
    return roots


@njit(nogil=True)
def _may_merge(
    u: int, v: int, key: int, sizes: Int64, open_: Mask, s2: int, least_key: int
) -> bool:
    """What fails here fails later too: sizes only grow and opens only spread."""
    return key > least_key and (sizes[u] < s2 or sizes[v] < s2) and not (open_[u] and open_[v])


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
    order: Index, u: UInt32, v: UInt32, sizes: Int64, open_: Mask, s2: int, roots: UInt32
) -> None:
    """The Kruskal pass; ``roots`` come as singletons and go flat."""
    for i in range(order.size):
        a = find(roots, u[order[i]])
        b = find(roots, v[order[i]])
        if a == b or (open_[a] and open_[b]) or (sizes[a] >= s2 and sizes[b] >= s2):
            continue
        if open_[a] or open_[b]:
            open_[a] = True
            open_[b] = True
            continue
        if b < a:
            a, b = b, a
        roots[b] = a
        sizes[a] += sizes[b]
    flatten(roots)
