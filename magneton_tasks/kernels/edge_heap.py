"""A heap of edges by score, as mean linkage needs it: four children a node, largest key first.

An edge's heap key is ``score << 32 | (2^32 - 1 - rank)``, uint64: the higher mean first, then the
lower rank. Keys may be larger than what an edge has become worth meanwhile, never smaller; whoever
takes the first one compares, and lets it sink.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from magneton_tasks.kernels.exact_settings import SCORE_BITS
from magneton_tasks.kernels.region_graph import Index

UInt64 = NDArray[np.uint64]

_RANK_BITS = np.uint64(32)
_MAX_RANK = np.uint32(0xFFFFFFFF)


class Heap(NamedTuple):
    """12 B an edge (16 with int64 indices); its length is kept by the user."""

    keys: UInt64
    edges: Index


@njit(cache=True, nogil=True)
def score(sum_: int, count: int) -> int:
    """The mean affinity in fixed point; rounds down, and never overflows for sums below 2^39."""
    return (np.int64(sum_) << SCORE_BITS) // np.int64(count)


@njit(cache=True, nogil=True)
def heap_key(sum_: int, count: int, rank: int) -> int:
    """uint64; distinct for distinct ranks."""
    return (np.uint64(score(sum_, count)) << _RANK_BITS) | np.uint64(_MAX_RANK - np.uint32(rank))


@njit(cache=True, nogil=True)
def sink(heap: Heap, length: int, i: int, key: int, edge: int) -> None:
    """Put an edge at node i or below, where its key belongs."""
    keys = heap.keys
    edges = heap.edges
    while True:
        child = 4 * i + 1
        if child >= length:
            break
        best = child
        for other in range(child + 1, min(child + 4, length)):
            if keys[other] > keys[best]:
                best = other
        if keys[best] <= key:
            break
        keys[i] = keys[best]
        edges[i] = edges[best]
        i = best
    keys[i] = key
    edges[i] = edge


@njit(cache=True, nogil=True)
def heapify(heap: Heap, length: int) -> None:
    """Order ``length`` edges that lie in the arrays as they came."""
    for i in range((length - 2) >> 2, -1, -1):
        sink(heap, length, i, heap.keys[i], heap.edges[i])
