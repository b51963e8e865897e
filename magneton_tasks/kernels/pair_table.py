"""A hash table from pairs of regions to the edge between them, for regions with many neighbours.

Open addressing with linear probing; the length is a power of two and at most half is used. Nothing
is taken out: entries of edges that are gone are dropped when the table is written anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from magneton_tasks.kernels.region_graph import Index
from magneton_tasks.kernels.residual import Int64, UInt32

_FIRST_LENGTH = 1024


class PairTable(NamedTuple):
    """Entries: 12 B each (16 with int64 indices), two to eight for each pair in use."""

    pairs: Int64
    """Smaller region << 32 | larger region; -1: free."""
    edges: Index
    used: Int64
    """int64 (1,): entries in use."""


@njit(cache=True, nogil=True)
def _pair(a: int, b: int) -> int:
    return (np.int64(min(a, b)) << 32) | np.int64(max(a, b))


@njit(cache=True, nogil=True)
def _entry(pairs: Int64, pair: int) -> int:
    """Where a pair is, or the free entry where it belongs."""
    # Two odd constants (of splitmix64 and xxHash) spread the halves; the high bits are the good ones.
    a = np.uint64(pair >> 32) * np.uint64(0x9E3779B97F4A7C15)
    b = np.uint64(pair & 0xFFFFFFFF) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed = a + b
    i = np.int64((mixed ^ (mixed >> np.uint64(29))) >> np.uint64(3)) & (pairs.size - 1)
    while pairs[i] != -1 and pairs[i] != pair:
        i = (i + 1) & (pairs.size - 1)
    return i


@njit(cache=True, nogil=True)
def new_pair_table(edges: Index) -> PairTable:
    """An empty table, with the index dtype of ``edges``."""
    return PairTable(
        np.full(_FIRST_LENGTH, -1, np.int64),
        np.empty(_FIRST_LENGTH, edges.dtype),
        np.zeros(1, np.int64),
    )


@njit(cache=True, nogil=True)
def edge_of(table: PairTable, a: int, b: int) -> int:
    """The edge last noted for the regions a and b (it may be gone meanwhile), or -1."""
    i = _entry(table.pairs, _pair(a, b))
    return np.int64(table.edges[i]) if table.pairs[i] != -1 else np.int64(-1)


@njit(cache=True, nogil=True)
def note(table: PairTable, ends: UInt32, a: int, b: int, edge: int) -> PairTable:
    """Note the edge between the regions a and b; returns the table to go on with.

    ``ends``: see `mean_linkage`; it tells which edges are left.
    """
    pair = _pair(a, b)
    i = _entry(table.pairs, pair)
    table.edges[i] = edge
    if table.pairs[i] != pair:
        table.pairs[i] = pair
        table.used[0] += 1
        if table.used[0] * 2 > table.pairs.size:
            return _rewritten(table, ends)
    return table


@njit(cache=True, nogil=True)
def _is_current(table: PairTable, ends: UInt32, i: int) -> bool:
    """Whether an entry's edge is still there, between these regions."""
    if table.pairs[i] == -1:
        return False
    edge = np.int64(table.edges[i])
    return ends[2 * edge] != 0 and _pair(ends[2 * edge], ends[2 * edge + 1]) == table.pairs[i]


@njit(cache=True, nogil=True)
def _rewritten(table: PairTable, ends: UInt32) -> PairTable:
    """Without the entries that are out of date; longer if more than a quarter is left."""
    current = 0
    for i in range(table.pairs.size):
        current += _is_current(table, ends, i)
    length = table.pairs.size
    while current * 4 > length:
        length *= 2
    new = PairTable(
        np.full(length, -1, np.int64),
        np.empty(length, table.edges.dtype),
        np.full(1, current, np.int64),
    )
    for i in range(table.pairs.size):
        if _is_current(table, ends, i):
            j = _entry(new.pairs, table.pairs[i])
            new.pairs[j] = table.pairs[i]
            new.edges[j] = table.edges[i]
    return new
