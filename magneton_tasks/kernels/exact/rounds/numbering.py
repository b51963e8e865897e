"""Names to numbers: a task's own regions from 1 in the order of their names, ghosts after them.

Rows of the same two regions stay as they are: the linkage adds them up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import Edges, UInt32
from magneton_tasks.kernels.exact.rounds.look_up import row_of, runs_of
from magneton_tasks.kernels.exact.rounds.name_table import enter, number_names, number_of
from magneton_tasks.kernels.exact.rounds.tables import (
    HalfEdges,
    Int64,
    Mask,
    RegionContacts,
    blocks_of,
)


class Ghosts(NamedTuple):
    """Regions in other tasks' hands, in the order of their numbers."""

    name: Int64
    size: Int64
    at: UInt32
    """A block of the group that each is in."""


def number_contacts(names: Int64, contacts: RegionContacts) -> tuple[Edges, Ghosts]:
    """Of the first round; ``names`` are those of own regions, sorted.

    Peak: 40 B a contact, 96 B a ghost.
    """
    ends = contacts.a, contacts.b, contacts.size_a, contacts.size_b
    u, v, ghost, size = _number_contacts(names, *ends)
    edges = Edges(u, v, contacts.sum, contacts.count, contacts.last, contacts.key)
    return edges, Ghosts(ghost, size, blocks_of(ghost).astype(np.uint32))


@njit(nogil=True)
def _number_contacts(
    names: Int64, a: Int64, b: Int64, size_a: Int64, size_b: Int64
) -> tuple[UInt32, UInt32, Int64, Int64]:
    numbers = np.empty((2, a.size), np.uint32)
    ghost, size = np.empty(2 * a.size, np.int64), np.empty(2 * a.size, np.int64)
    table = number_names(names[:0])
    runs = runs_of(names)
    count = 0
    for side, (ends, sizes) in enumerate(((a, size_a), (b, size_b))):
        run = 0
        for k in range(a.size):
            row, run = row_of(names, runs, run, ends[k])
            number = np.int64(row + 1)
            if row < 0:
                table, nth = enter(table, ends[k], count + 1)
                if nth > count:
                    ghost[count], size[count] = ends[k], 0
                    count += 1
                size[nth - 1] = max(size[nth - 1], sizes[k])  # 0 in rows without sums
                number = names.size + nth
            numbers[side, k] = number
    return numbers[0], numbers[1], ghost[:count].copy(), size[:count].copy()


def number_half_edges(
    table: Int64, own: int, half: HalfEdges, open_: Mask
) -> tuple[Edges, Ghosts, bool]:
    """Of later rounds: those to what is open, once where both ends are own; and whether all ``u`` are.

    Peak: 70 B a row, and twice the table.
    """
    u, v, rows, name, size, at = _number_half_edges(
        table, own, half.u, half.v, half.size_v, half.at, open_
    )
    columns = (half.sum[rows], half.count[rows], half.last[rows], half.key[rows])
    return Edges(u, v, *columns), Ghosts(name, size, at), not u.size or int(u.min()) > 0


@njit(nogil=True)
def _number_half_edges(
    table: Int64, own: int, u: Int64, v: Int64, size_v: Int64, at_v: UInt32, open_: Mask
) -> tuple[UInt32, UInt32, Int64, Int64, Int64, UInt32]:
    number_u, number_v = np.empty(u.size, np.uint32), np.empty(u.size, np.uint32)
    rows = np.empty(u.size, np.int64)
    ghost, size = np.empty(u.size, np.int64), np.empty(u.size, np.int64)
    at = np.empty(u.size, np.uint32)
    count = 0
    kept = 0
    for k in range(u.size):
        if not open_[k]:
            continue
        here = number_of(table, u[k])
        table, there = enter(table, v[k], own + count + 1)
        if there > own + count:
            ghost[count], size[count], at[count] = v[k], size_v[k], at_v[k]
            count += 1
        if there > own or here < there:  # the other direction says the same
            number_u[kept], number_v[kept] = here, there
            rows[kept] = k
            kept += 1
    return (
        number_u[:kept],
        number_v[:kept],
        rows[:kept],
        ghost[:count].copy(),
        size[:count].copy(),
        at[:count].copy(),
    )
