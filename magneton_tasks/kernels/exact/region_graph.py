"""The region graph: which regions touch, and what the voxel edges between them amount to.

`region_graph` makes it from the voxels of a block, `aggregate` from edges
between regions that have become one. Both group the edges by their smaller end (a counting sort)
and merge those of one group through one slot for each larger end: no sorting, no hashing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.borders import border_row, row_buffers, steps_back
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS, SCORE_BITS
from magneton_tasks.kernels.exact.residual import DTYPES, Edges, Int64, UInt8, UInt32

#: More (half-)edges or nodes than this have int64 indices: those of 2^30 edges' halves still fit.
MAX_INT32_EDGES = 1 << 30
#: Sums below this can be turned into a score, ``sum << SCORE_BITS``, in an int64.
MAX_SUM = 1 << (63 - SCORE_BITS)

#: Below every key, also those of affinity 0.
NO_KEY = np.iinfo(np.int64).min

Index = NDArray[Any]


def index_dtype(edges: int, nodes: int) -> type[np.int32] | type[np.int64]:
    """The dtype of indices of edges, half-edges and nodes (-1: none): int32 where it is enough."""
    return np.int32 if max(edges, nodes) <= MAX_INT32_EDGES else np.int64


def check_sums(edges: Edges) -> None:
    """Raise BadDataError if the score of an edge can't be computed in 64 bits."""
    if edges.sum.size and int(edges.sum.max()) >= MAX_SUM:
        raise sum_too_large()


def sum_too_large() -> BadDataError:
    return BadDataError(
        f"the affinities between two regions add up to {MAX_SUM} or more",
        "no two objects touch in two billion voxels: look for flooding, lower t_low or raise t_high",
    )


def region_graph(affinity: UInt8, labels: UInt32, n: int) -> Edges:
    """The region graph of a block, positions being those in the block.

    Peak: 9 B a voxel edge between two regions, 12 B a region, and 40 B an edge for the result.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    labels
        uint32 (z, y, x), 1..n; 0: background, to which no edge leads.

    Returns
    -------
    Edges
        With u < v, sorted by u.
    """
    starts = _count_voxel_edges(labels, n)
    total = int(starts[n + 1])
    larger = np.empty(total, np.uint32)
    position = np.empty(total, np.uint32)
    value = np.empty(total, np.uint8)
    _list_voxel_edges(affinity, labels, starts, larger, position, value)
    # Every start has moved to the end of its group.
    slot = np.full(n + 1, -1, index_dtype(total, n))
    edges = int(_count_edges(n, starts, larger, slot))
    graph = Edges._make(np.empty(edges, dtype) for dtype in DTYPES[Edges])
    slot[:] = -1
    _add_up(n, starts, larger, position, value, slot, *graph)
    check_sums(graph)
    return graph


@njit(nogil=True)
def _count_voxel_edges(labels: UInt32, n: int) -> Int64:
    """int64 (n + 2,): where the voxel edges of each smaller label begin."""
    nz, ny, nx = labels.shape
    flat = labels.reshape(-1)
    back = steps_back(labels)
    starts = np.zeros(n + 2, np.int64)
    marks, codes = row_buffers(nx)
    for z in range(nz):
        for y in range(ny):
            first = (z * ny + y) * nx
            for found in range(border_row(labels, z, y, marks, codes)):
                voxel = first + (codes[found] >> 2)
                starts[min(flat[voxel], flat[voxel - back[codes[found] & 3]]) + 1] += 1
    for i in range(1, n + 2):
        starts[i] += starts[i - 1]
    return starts


@njit(nogil=True)
def _list_voxel_edges(
    affinity: UInt8, labels: UInt32, starts: Int64, larger: UInt32, position: UInt32, value: UInt8
) -> None:
    """List voxel edges by smaller label, in the order of their positions; moves the starts."""
    nz, ny, nx = labels.shape
    flat = labels.reshape(-1)
    affinities = affinity.reshape(-1)
    back = steps_back(labels)
    marks, codes = row_buffers(nx)
    for z in range(nz):
        for y in range(ny):
            first = (z * ny + y) * nx
            for found in range(border_row(labels, z, y, marks, codes)):
                axis = np.int64(codes[found] & 3)
                voxel = first + np.int64(codes[found] >> 2)
                a = flat[voxel]
                b = flat[voxel - back[axis]]
                k = starts[min(a, b)]
                starts[min(a, b)] = k + 1
                larger[k] = max(a, b)
                position[k] = 3 * voxel + axis
                value[k] = affinities[axis * flat.size + voxel]


@njit(nogil=True)
def _count_edges(n: int, ends: Int64, larger: UInt32, slot: Index) -> int:
    """Different pairs of labels; ``slot`` comes filled with -1."""
    edges = 0
    for u in range(1, n + 1):
        for k in range(ends[u - 1], ends[u]):
            if slot[larger[k]] < ends[u - 1]:
                slot[larger[k]] = k
                edges += 1
    return edges


@njit(nogil=True)
def _add_up(
    n: int,
    ends: Int64,
    larger: UInt32,
    position: UInt32,
    value: UInt8,
    slot: Index,
    eu: UInt32,
    ev: UInt32,
    sum_: Int64,
    count: Int64,
    last: Int64,
    key: Int64,
) -> None:
    """Fill the columns of edges; ``slot`` comes filled with -1."""
    edges = 0
    for u in range(1, n + 1):
        begin = edges
        for k in range(ends[u - 1], ends[u]):
            edge = slot[larger[k]]
            if edge < begin:
                edge = edges
                edges += 1
                slot[larger[k]] = edge
                eu[edge] = u
                ev[edge] = larger[k]
                sum_[edge] = 0
                count[edge] = 0
                key[edge] = NO_KEY
            sum_[edge] += value[k]
            count[edge] += 1
            last[edge] = position[k]  # they ascend
            key[edge] = max(key[edge], (np.int64(value[k]) << KEY_BITS) - np.int64(position[k]))


def aggregate(
    n: int, u: UInt32, v: UInt32, sum_: Int64, count: Int64, last: Int64, key: Int64
) -> Edges:
    """Merge parallel edges; drop self loops and edges to node 0.

    All columns are **written to**, and the result is made of their first rows: it costs 4 B an
    edge (8 beyond 2^30) and 12 B a node, but keeps the columns alive.

    Parameters
    ----------
    n
        The nodes are 1..n.
    u, v
        uint32 (edges,): the ends, in any order.
    sum_, count, last, key
        int64 (edges,): see `residual.Edges`.

    Returns
    -------
    Edges
        With u < v, in the order in which pairs first occur.
    """
    starts = _count_by_smaller_end(n, u, v)
    order = np.empty(int(starts[n + 1]), index_dtype(u.size, n))
    _order_by_smaller_end(u, v, starts, order)
    _merge_parallel(n, starts, order, u, v, sum_, count, last, key)
    del starts, order
    kept = _keep_marked(u, v, sum_, count, last, key)
    merged = Edges(u[:kept], v[:kept], sum_[:kept], count[:kept], last[:kept], key[:kept])
    check_sums(merged)
    return merged


@njit(nogil=True)
def _count_by_smaller_end(n: int, u: UInt32, v: UInt32) -> Int64:
    """int64 (n + 2,): where the group of each smaller end begins."""
    starts = np.zeros(n + 2, np.int64)
    for k in range(u.size):
        if u[k] != v[k] and u[k] != 0 and v[k] != 0:
            starts[min(u[k], v[k]) + 1] += 1
    for i in range(1, n + 2):
        starts[i] += starts[i - 1]
    return starts


@njit(nogil=True)
def _order_by_smaller_end(u: UInt32, v: UInt32, starts: Int64, order: Index) -> None:
    """Fill ``order`` with the edges' indices, group by group; moves each start to its group's end."""
    for k in range(u.size):
        if u[k] != v[k] and u[k] != 0 and v[k] != 0:
            small = min(u[k], v[k])
            order[starts[small]] = k
            starts[small] += 1


@njit(nogil=True)
def _merge_parallel(
    n: int,
    ends: Int64,
    order: Index,
    u: UInt32,
    v: UInt32,
    sum_: Int64,
    count: Int64,
    last: Int64,
    key: Int64,
) -> None:
    """Add each edge to the first of its pair; all others get u = v.

    ``slot[w]``: place in ``order`` of the first edge to w; of another group if before ``begin``.
    """
    slot = np.full(n + 1, -1, order.dtype)
    for a in range(1, n + 1):
        begin = ends[a - 1]
        for q in range(begin, ends[a]):
            k = order[q]
            b = max(u[k], v[k])
            if slot[b] < begin:
                slot[b] = q
                u[k] = a
                v[k] = b
                continue
            j = order[slot[b]]
            sum_[j] += sum_[k]
            count[j] += count[k]
            last[j] = max(last[j], last[k])
            key[j] = max(key[j], key[k])
            v[k] = u[k]


@njit(nogil=True)
def _keep_marked(u: UInt32, v: UInt32, sum_: Int64, count: Int64, last: Int64, key: Int64) -> int:
    """Move the edges between two nodes to the front; returns how many they are."""
    kept = 0
    for k in range(u.size):
        if u[k] != v[k] and u[k] != 0 and v[k] != 0:
            u[kept] = u[k]
            v[kept] = v[k]
            sum_[kept] = sum_[k]
            count[kept] = count[k]
            last[kept] = last[k]
            key[kept] = key[k]
            kept += 1
    return kept
