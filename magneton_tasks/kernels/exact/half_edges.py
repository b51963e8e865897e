"""A graph whose regions merge: each edge as two half-edges, each region with a list of its own.

::

    edge e between the regions 7 and 9:   ends[2e] = 7   ends[2e + 1] = 9   (0, 0 once it is gone)

    region 7:  head -> half-edge -> half-edge -> ... <- tail      half-edge h and h ^ 1 are one edge

Lists are linked by ``following``; head, tail and the number of neighbours of a region are a row of
``lists``. An edge that is gone stays in a list until somebody walks along it. All index arrays have
one dtype, see `region_graph.index_dtype`; -1 stands for none. 24 B an edge with int32, 40 with int64.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.region_graph import Index
from magneton_tasks.kernels.exact.residual import UInt32

#: Columns of ``lists``.
HEAD, TAIL, DEGREE = 0, 1, 2
#: Columns of ``marks``.
EDGE, MERGE = 0, 1


@njit(nogil=True)
def half_edges(n: int, u: UInt32, v: UInt32, index: Index) -> tuple[UInt32, Index, Index]:
    """Ends, following half-edges and lists of a graph of the regions 1..n.

    ``index``: any array of the index dtype. Half-edges of a region are in the order of the edges.
    """
    ends = np.empty(2 * u.size, np.uint32)
    following = np.full(2 * u.size, -1, index.dtype)
    lists = np.full((n + 1, 3), -1, index.dtype)
    for region in range(n + 1):
        lists[region, DEGREE] = 0
    for edge in range(u.size):
        ends[2 * edge] = u[edge]
        ends[2 * edge + 1] = v[edge]
        for half in range(2 * edge, 2 * edge + 2):
            append(following, lists, ends[half], half)
            lists[ends[half], DEGREE] += 1
    return ends, following, lists


@njit(nogil=True)
def append(following: Index, lists: Index, region: int, half: int) -> None:
    """Put a half-edge at the end of a region's list."""
    following[half] = -1
    if lists[region, TAIL] < 0:
        lists[region, HEAD] = half
    else:
        following[lists[region, TAIL]] = half
    lists[region, TAIL] = half


@njit(nogil=True)
def mark_neighbours(
    ends: UInt32, following: Index, lists: Index, marks: Index, merge: int, v: int
) -> None:
    """Mark each neighbour of v with its edge; takes edges that are gone out of v's list.

    ``marks``: (n + 1, 2), the edge and the number of the merge that it was written for, so that
    nothing needs to be cleared.
    """
    half = lists[v, HEAD]
    previous = -1
    while half >= 0:
        next_ = following[half]
        if ends[half] != 0:
            neighbour = ends[half ^ 1]
            marks[neighbour, EDGE] = half >> 1
            marks[neighbour, MERGE] = merge
            previous = half
        elif previous < 0:
            lists[v, HEAD] = next_
        else:
            following[previous] = next_
        half = next_
    lists[v, TAIL] = previous
