"""A heap of edges by score, as mean linkage needs it: four children a node, largest key first.

An edge's heap key is ``score << 32 | (2^32 - 1 - rank)``, uint64: the higher mean first, then the
lower rank. Keys in the heap may be larger than what an edge has become worth meanwhile, never
smaller; whoever takes the first one compares, and lets it sink.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.fixed_point import SCORE_BITS

UInt64 = NDArray[np.uint64]

_RANK_BITS = np.uint64(32)
_MAX_RANK = np.uint32(0xFFFFFFFF)


@njit(nogil=True, error_model="numpy")
def score(sum_: int, count: int) -> int:
    """The mean affinity in fixed point; rounds down, and never overflows for sums below 2^39."""
    return (sum_ << SCORE_BITS) // count


@njit(nogil=True)
def heap_key(sum_: int, count: int, rank: int) -> np.uint64:
    """Distinct for distinct ranks."""
    return (np.uint64(score(sum_, count)) << _RANK_BITS) | np.uint64(_MAX_RANK - np.uint32(rank))


@njit(nogil=True)
def sink(keys: UInt64, edges: NDArray[Any], length: int, i: int, key: np.uint64, edge: int) -> None:
    """Put an edge at node i or below, where its key belongs, in a heap of the first ``length``."""
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


@njit(nogil=True)
def heapify(keys: UInt64, edges: NDArray[Any]) -> None:
    """Order edges that lie in the arrays as they came."""
    for i in range((keys.size - 2) >> 2, -1, -1):
        sink(keys, edges, keys.size, i, keys[i], edges[i])
