"""Edges between the same two regions become one."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from magneton_tasks.kernels.exact.rounds.tables import (
    HalfEdges,
    OwnEdges,
    RegionContacts,
    take,
)

_Table = TypeVar("_Table", HalfEdges, OwnEdges, RegionContacts)


def add_parallel(table: _Table) -> _Table:
    """Add up rows with the same first two columns, and sort by them; other columns: any of them.

    `tables.MUST` outlives it: the largest key is kept.
    """
    first, second = table[0], table[1]
    if not first.size:
        return table
    order = np.lexsort((second, first))
    table = take(table, order)
    first, second = table[0], table[1]
    begins = np.flatnonzero(
        np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1]))
    )
    if begins.size == first.size:
        return table
    return take(table, begins)._replace(
        sum=np.add.reduceat(table.sum, begins),
        count=np.add.reduceat(table.count, begins),
        last=np.maximum.reduceat(table.last, begins),
        key=np.maximum.reduceat(table.key, begins),
    )
