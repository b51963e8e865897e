"""Clean-up: small basins join the one across their best voxel edge.

All at once, by what the basins are before: a basin of fewer than s_min voxels picks the basin behind
the best of its outgoing edges, and picks are united.

Of a basin on a face with a neighbour behind it, the block knows only a part. Its picks wait for the
join, for which the block keeps the best edge to a basin that is on no such face, and all edges
between two that are: two parts of one basin may meet in another block, so their edges may turn out
not to be outgoing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.basins import Int32
from magneton_tasks.kernels.exact.borders import border_row, row_buffers, steps_back
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS, least_key
from magneton_tasks.kernels.exact.residual import Int64, Mask, UInt8, UInt32
from magneton_tasks.kernels.union_find import unite

_SMALL, _ON_FACE = np.uint8(1), np.uint8(2)


class BestEdges(NamedTuple):
    """Best outgoing edges of the small basins of a block, 12 B a basin."""

    key: Int64
    """(n + 1,): 0: none. Positions are those in the block."""
    target: UInt32
    """(n + 1,): the basin behind it."""
    pairs: Int64
    """(edges, 3): basins and key of edges between two basins on faces."""


def best_edges(
    affinity: UInt8, labels: UInt32, sizes: Int32, on_face: Mask, s_min: int, t_size: int
) -> BestEdges:
    """The best voxel edge out of each basin of fewer than ``s_min`` voxels so far.

    Peak: 13 B a basin, 24 to 48 B an edge of pairs.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    labels, sizes
        See `basins.BasinLabels`.
    on_face
        bool (n + 1,): basins on a face with a neighbour behind it.
    s_min, t_size
        See `ExactSettings`.
    """
    kinds = np.where(sizes < s_min, _SMALL, np.uint8(0))
    kinds[on_face] |= _ON_FACE
    key = np.zeros(sizes.size, np.int64)
    target = np.zeros(sizes.size, np.uint32)
    t_size = max(t_size, 1)
    pairs = _offer_edges(affinity, labels, kinds, t_size, key)
    _find_targets(labels, kinds, least_key(t_size), key, target)
    return BestEdges(key, target, pairs)


@njit(nogil=True)
def join_small(n: int, sizes: Int32, best: BestEdges, on_face: Mask, s_min: int) -> UInt32:
    """Unite small basins that are known in full with their targets: uint32 (n + 1,) of roots."""
    roots = np.arange(n + 1).astype(np.uint32)
    for i in range(1, n + 1):
        if sizes[i] < s_min and not on_face[i] and best.key[i] > 0:
            unite(roots, i, best.target[i])
    for i in range(1, n + 1):
        roots[i] = roots[roots[i]]
    return roots


@njit(nogil=True)
def _offer_edges(affinity: UInt8, labels: UInt32, kinds: UInt8, t_size: int, key: Int64) -> Int64:
    """Raise ``key`` to the best edge of every basin; returns the pairs."""
    nz, ny, nx = labels.shape
    marks, codes = row_buffers(nx)
    pairs = np.empty((0, 3), np.int64)
    used = 0
    for z in range(nz):
        for y in range(ny):
            found = border_row(labels, z, y, marks, codes)
            if used + found > len(pairs):
                longer = np.empty((2 * (used + found), 3), np.int64)
                longer[:used] = pairs[:used]
                pairs = longer
            first = (z * ny + y) * nx
            used = _offer_row(
                affinity, labels, first, codes[:found], kinds, t_size, key, pairs, used
            )
    return pairs[:used].copy()


@njit(nogil=True)
def _offer_row(
    affinity: UInt8,
    labels: UInt32,
    first: int,
    codes: UInt32,
    kinds: UInt8,
    t_size: int,
    key: Int64,
    pairs: Int64,
    used: int,
) -> int:
    """Offer the edges of the row that begins at voxel ``first`` to the basins at their ends.

    Nearly all basins are small, so large ones are offered edges too: that is faster than to ask.
    """
    flat = labels.reshape(-1)
    affinities = affinity.reshape(-1)
    back = steps_back(labels)
    for code in codes:
        axis = np.int64(code & 3)
        voxel = first + np.int64(code >> 2)
        a = flat[voxel]
        b = flat[voxel - back[axis]]
        g = np.int64(affinities[axis * flat.size + voxel])
        offered = (g << KEY_BITS) - (3 * voxel + axis)
        if kinds[a] & kinds[b] & _ON_FACE:
            if g >= t_size and (kinds[a] | kinds[b]) & _SMALL:
                pairs[used, 0] = a
                pairs[used, 1] = b
                pairs[used, 2] = offered
                used += 1
            continue
        key[a] = max(key[a], offered)
        key[b] = max(key[b], offered)
    return used


@njit(nogil=True)
def _find_targets(labels: UInt32, kinds: UInt8, least_key: int, key: Int64, target: UInt32) -> None:
    """The basins behind the best edges of small basins, by their positions; of others no edge stays."""
    flat = labels.reshape(-1)
    back = steps_back(labels)
    for basin in range(1, key.size):
        if not kinds[basin] & _SMALL or key[basin] <= least_key:
            key[basin] = 0
            continue
        position = (-(-key[basin] >> KEY_BITS) << KEY_BITS) - key[basin]
        voxel = position // 3
        here = flat[voxel]
        there = flat[voxel - back[position - 3 * voxel]]
        target[basin] = there if here == basin else here
