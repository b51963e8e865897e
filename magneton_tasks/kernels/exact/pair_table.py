"""A hash table from pairs of regions to the edge between them, for regions with many neighbours.

Open addressing with linear probing, in two arrays: ``pairs`` and ``edges``. The length is a power
of two, and at most half of it is used; ``pairs`` has one element more, which counts what is. An edge
is noted whenever it comes to lie between two regions of which one is a hub, so what is found of two
regions that are left is their edge. Entries of regions that are gone stay until the table is written
anew. 12 B an entry (16 with int64 indices), two to eight entries a pair.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.region_graph import Index
from magneton_tasks.kernels.exact.residual import Int64, UInt32

_FIRST_LENGTH = 1024
_FREE = -1


@njit(nogil=True)
def new_pair_table(index: Index) -> tuple[Int64, Index]:
    """Pairs and edges of an empty table, with indices of the dtype of ``index``."""
    pairs = np.full(_FIRST_LENGTH + 1, _FREE, np.int64)
    pairs[-1] = 0
    return pairs, np.empty(_FIRST_LENGTH, index.dtype)


@njit(nogil=True)
def edge_of(pairs: Int64, edges: Index, a: int, b: int) -> int:
    """The edge between the regions a and b, one of which is a hub, or -1."""
    i = _entry(pairs, _pair(a, b))
    edge: int = edges[i] if pairs[i] != _FREE else -1
    return edge


@njit(nogil=True)
def note(
    pairs: Int64, edges: Index, ends: UInt32, a: int, b: int, edge: int
) -> tuple[Int64, Index]:
    """Note the edge between the regions a and b; returns the table to go on with.

    ``ends``: see `half_edges`; it tells which edges are left.
    """
    pair = _pair(a, b)
    i = _entry(pairs, pair)
    edges[i] = edge
    if pairs[i] == _FREE:
        pairs[i] = pair
        pairs[-1] += 1
        if pairs[-1] * 2 > edges.size:
            return _rewritten(pairs, edges, ends)
    return pairs, edges


@njit(nogil=True)
def _pair(a: int, b: int) -> np.int64:
    return (np.int64(min(a, b)) << 32) | np.int64(max(a, b))


@njit(nogil=True)
def _entry(pairs: Int64, pair: np.int64) -> int:
    """Where a pair is, or the free entry where it belongs."""
    # Odd constants (of splitmix64 and xxHash) spread the halves; the high bits are the good ones.
    a = np.uint64(pair >> 32) * np.uint64(0x9E3779B97F4A7C15)
    b = np.uint64(pair & 0xFFFFFFFF) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = a + b
    last = pairs.size - 2
    i = int((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(3)) & last
    while pairs[i] != _FREE and pairs[i] != pair:
        i = (i + 1) & last
    return i


@njit(nogil=True)
def _is_current(pairs: Int64, edges: Index, ends: UInt32, i: int) -> bool:
    """Whether an entry's edge is still there, between these regions."""
    if pairs[i] == _FREE:
        return False
    edge = edges[i]
    current: bool = ends[2 * edge] != 0 and _pair(ends[2 * edge], ends[2 * edge + 1]) == pairs[i]
    return current


@njit(nogil=True)
def _rewritten(pairs: Int64, edges: Index, ends: UInt32) -> tuple[Int64, Index]:
    """Without the entries that are out of date; longer if more than a quarter is left."""
    current = 0
    for i in range(edges.size):
        current += _is_current(pairs, edges, ends, i)
    length = edges.size
    while current * 4 > length:
        length *= 2
    new_pairs = np.full(length + 1, _FREE, np.int64)
    new_pairs[-1] = current
    new_edges = np.empty(length, edges.dtype)
    for i in range(edges.size):
        if _is_current(pairs, edges, ends, i):
            j = _entry(new_pairs, pairs[i])
            new_pairs[j] = pairs[i]
            new_edges[j] = edges[i]
    return new_pairs, new_edges
