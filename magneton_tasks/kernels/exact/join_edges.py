"""The edges of a join: what it starts from, what may merge at all, and what stays open.

Only edges with an end that isn't open can merge anything, now or later in this join: those between
two open regions are set aside, as they pass through as they are. Arrays are written to and reused
all over, for a join holds 40 B an edge anyway and shouldn't hold much more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.join_tables import EdgeColumns
from magneton_tasks.kernels.exact.region_graph import aggregate
from magneton_tasks.kernels.exact.residual import Contacts, Edges, Int64, Mask, UInt32


def joined_edges(
    edges: EdgeColumns, contacts: Contacts, a: UInt32, b: UInt32, roots: UInt32
) -> Edges:
    """Step 9d: edges of the children and those across the faces, between regions as joined.

    Peak: 44 B an edge and remaining contact, while the children's edges go.

    Parameters
    ----------
    a, b
        uint32 (contacts,): root of the region on either side.
    roots
        uint32 (n + 1,): root of each child's region.
    """
    remaining = np.flatnonzero(a != b)
    more: dict[str, NDArray[Any]] = {"u": a[remaining], "v": b[remaining]}
    columns = []
    for name in Edges._fields:
        rows = more.get(name)
        columns.append(
            edges.take(name, getattr(contacts, name)[remaining] if rows is None else rows)
        )
    del more, remaining
    rename(columns[0], roots)
    rename(columns[1], roots)
    return aggregate(roots.size - 1, *columns)


@njit(nogil=True)
def rename(ends: UInt32, names: UInt32) -> None:
    """Each end becomes its name, in place."""
    for k in range(ends.size):
        ends[k] = names[ends[k]]


@njit(nogil=True)
def set_aside(
    u: UInt32, v: UInt32, sum_: Int64, count: Int64, last: Int64, key: Int64, open_: Mask
) -> int:
    """Move edges between two open regions behind all others; how many the others are."""
    low = 0
    high = u.size
    while True:
        while low < high and not (open_[u[low]] and open_[v[low]]):
            low += 1
        while low < high and open_[u[high - 1]] and open_[v[high - 1]]:
            high -= 1
        if low >= high:
            return low
        high -= 1
        u[low], u[high] = u[high], u[low]
        v[low], v[high] = v[high], v[low]
        sum_[low], sum_[high] = sum_[high], sum_[low]
        count[low], count[high] = count[high], count[low]
        last[low], last[high] = last[high], last[low]
        key[low], key[high] = key[high], key[low]
        low += 1


def open_edges(parts: list[Edges], open_: Mask, numbers: UInt32) -> Edges:
    """Step 8: the edges between open regions, by the numbers of these; empties ``parts``.

    Peak: 1 B an edge, and 9 B an edge that stays, above what goes as it comes.
    """
    between = [open_[e.u] & open_[e.v] for e in parts]
    columns = [list(column) for column in zip(*parts, strict=True)]
    parts.clear()
    kept = []
    while columns:
        rows = columns.pop(0)
        kept.append(np.concatenate([c[b] for c, b in zip(rows, between, strict=True)]))
    u, v = numbers[kept[0]], numbers[kept[1]]
    kept[:2] = [np.minimum(u, v), np.maximum(u, v)]
    return Edges(*kept)
