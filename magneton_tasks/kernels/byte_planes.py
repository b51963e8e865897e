"""Columns of integers as byte planes: all lowest bytes, then all next ones, as many as values need.

What differs little packs well so, and quickly: of columns that never fall the steps from row to row
are kept, of others how much each value lies above the smallest. All of it counts modulo 2^64, so that
any integers come back as they were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit

UInt8 = NDArray[np.uint8]

#: Rows that are worked at a time: their planes stay in the CPU's first cache.
_CHUNK = 2048


def whole_numbers(column: NDArray[Any]) -> NDArray[Any]:
    """A column as one of the types that the kernels are compiled for; a copy where it has to be."""
    whole = np.require(column, requirements=["C", "A", "W"])
    return whole.view({1: np.uint8, 4: np.uint32, 8: np.int64}[whole.itemsize])


@njit(nogil=True)
def measure(values: NDArray[Any]) -> tuple[np.int64, int, bool]:
    """Base, bytes a row, and whether steps are kept, of a column with at least one row."""
    least = most = before = np.int64(values[0])
    steps = np.uint64(0)
    rises = True
    for k in range(values.size):
        value = np.int64(values[k])
        least, most = min(least, value), max(most, value)
        rises = rises and bool(value >= before)
        steps |= np.uint64(value) - np.uint64(before)
        before = value
    spread = np.uint64(most) - np.uint64(least)
    if rises:
        return least, _bytes_of(steps), True
    return least, _bytes_of(spread), False


@njit(nogil=True)
def _bytes_of(value: np.uint64) -> int:
    found = 0
    left = value
    while left:
        left >>= np.uint64(8)
        found += 1
    return found


@njit(nogil=True)
def split(values: NDArray[Any], base: int, steps: bool, planes: UInt8) -> None:
    """Fill planes, (bytes, rows)."""
    rows = values.size
    chunk = np.empty(_CHUNK, np.uint64)
    before = np.uint64(base)
    for begin in range(0, rows, _CHUNK):
        size = min(_CHUNK, rows - begin)
        if steps:
            for k in range(size):
                value = np.uint64(np.int64(values[begin + k]))
                chunk[k] = value - before
                before = value
        else:
            for k in range(size):
                chunk[k] = np.uint64(np.int64(values[begin + k])) - before
        for plane in range(len(planes)):
            shift = np.uint64(8 * plane)
            row = planes[plane]
            for k in range(size):
                row[begin + k] = np.uint8(chunk[k] >> shift)


@njit(nogil=True)
def merge(planes: UInt8, base: int, steps: bool, values: NDArray[Any]) -> None:
    """Back from `split`: fill values."""
    rows = values.size
    chunk = np.empty(_CHUNK, np.uint64)
    before = np.uint64(base)
    for begin in range(0, rows, _CHUNK):
        size = min(_CHUNK, rows - begin)
        chunk[:size] = 0
        for plane in range(len(planes)):
            shift = np.uint64(8 * plane)
            row = planes[plane]
            for k in range(size):
                chunk[k] |= np.uint64(row[begin + k]) << shift
        if steps:
            for k in range(size):
                before += chunk[k]
                values[begin + k] = np.int64(before)
        else:
            for k in range(size):
                values[begin + k] = np.int64(chunk[k] + before)
