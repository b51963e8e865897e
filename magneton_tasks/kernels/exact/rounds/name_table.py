"""A hash table from names to numbers: names of a task's regions, and of whom they touch, mean a row.

An open table of (name, number) rows, a power of two of them, at most half of them taken: 32 to 64 B
a name.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.rounds.tables import Int64

#: Columns of a row.
_NAME, _NUMBER = 0, 1
_FREE = -1
_FIRST_LENGTH = 64


@njit(nogil=True)
def number_names(names: Int64) -> Int64:
    """The table of some names, in any order, with numbers 1, 2, ...; of equal ones the first counts."""
    length = _FIRST_LENGTH
    while length < 2 * names.size:
        length *= 2
    table = np.full((length, 2), _FREE, np.int64)
    for row in range(names.size):
        i = slot_of(table, names[row])
        if table[i, _NAME] == _FREE:
            table[i, _NAME] = names[row]
            table[i, _NUMBER] = row + 1
    return table


@njit(nogil=True)
def slot_of(table: Int64, name: int) -> np.int64:
    """Where a name is, or the free row where it belongs."""
    # An odd constant (of splitmix64) spreads labels that follow each other; the high bits are good.
    mixed = np.uint64(name) * np.uint64(0x9E3779B97F4A7C15)
    last = len(table) - 1
    i = np.int64(mixed >> np.uint64(29)) & np.int64(last)
    while table[i, _NAME] != _FREE and table[i, _NAME] != name:
        i = (i + 1) & last
    return i


@njit(nogil=True)
def number_of(table: Int64, name: int) -> np.int64:
    """Number of a name; 0: it isn't there."""
    i = slot_of(table, name)
    number: np.int64 = table[i, _NUMBER]
    return number if table[i, _NAME] == name else np.int64(0)


@njit(nogil=True)
def enter(table: Int64, name: int, number: int) -> tuple[Int64, np.int64]:
    """The table to go on with, and the number of a name: ``number`` if it is new.

    Numbers are given in order: so many names are there already, and one.
    """
    i = slot_of(table, name)
    if table[i, _NAME] == name:
        return table, table[i, _NUMBER]
    if 2 * number > len(table):
        table = _longer(table)
        i = slot_of(table, name)
    table[i, _NAME] = name
    table[i, _NUMBER] = number
    return table, np.int64(number)


@njit(nogil=True)
def numbers_of(table: Int64, names: Int64) -> Int64:
    """Number of each name; 0: it isn't there."""
    found = np.empty(names.size, np.int64)
    for k in range(names.size):
        found[k] = number_of(table, names[k])
    return found


@njit(nogil=True)
def _longer(table: Int64) -> Int64:
    longer = np.full((2 * len(table), 2), _FREE, np.int64)
    for row in range(len(table)):
        if table[row, _NAME] != _FREE:
            i = slot_of(longer, table[row, _NAME])
            longer[i, _NAME] = table[row, _NAME]
            longer[i, _NUMBER] = table[row, _NUMBER]
    return longer
