"""Dust: what is small in the end joins the neighbour across its best voxel edge.

On the segmentation after mean linkage, and all at once: each segment of fewer than ``dust`` voxels
picks the segment behind the best of its outgoing voxel edges, if that has an affinity of t_size, and
picks are united. A chain of picks ends in a segment that picks nothing or in two that pick each
other.

A closed region has its final size and knows all its edges, so it picks where it closes. An open
region doesn't pick yet, so no chain leads on from it, and two open regions are never united here;
but its edges to closed regions are remembered, as they leave the residual.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import Int64, Mask, UInt32
from magneton_tasks.kernels.union_find import flatten, unite


@njit(nogil=True)
def best_neighbours(
    u: UInt32, v: UInt32, key: Int64, sizes: Int64, open_: Mask, dust: int, least_key: int
) -> tuple[Int64, UInt32]:
    """The best neighbour of each small region; of an open one, the best that is closed.

    Parameters
    ----------
    u, v, key
        (edges,): ends and largest key; edges with an end 0 are gone.
    sizes, open_
        int64 and bool (n + 1,), by region.
    dust, least_key
        See `ExactSettings`.

    Returns
    -------
    best
        int64 (n + 1,): key of the edge to it; 0: none.
    neighbour
        uint32 (n + 1,); 0: none.
    """
    best = np.zeros(sizes.size, np.int64)
    neighbour = np.zeros(sizes.size, np.uint32)
    for k in range(u.size):
        a = u[k]
        b = v[k]
        if a == 0 or b == 0 or key[k] <= least_key or (open_[a] and open_[b]):
            continue
        if sizes[a] < dust and key[k] > best[a]:
            best[a] = key[k]
            neighbour[a] = b
        if sizes[b] < dust and key[k] > best[b]:
            best[b] = key[k]
            neighbour[b] = a
    return best, neighbour


@njit(nogil=True)
def unite_dust(neighbour: UInt32, open_: Mask) -> UInt32:
    """Unite closed regions with their best neighbours: uint32 (n + 1,) of roots.

    With open regions numbered first, the root of a set that has one is the open one.
    """
    roots = np.arange(neighbour.size).astype(np.uint32)
    for i in range(1, neighbour.size):
        if neighbour[i] != 0 and not open_[i]:
            unite(roots, i, neighbour[i])
    flatten(roots)
    return roots
