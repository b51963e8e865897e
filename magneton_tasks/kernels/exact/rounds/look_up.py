"""Rows of names in a sorted column. Names of one block lie together there, often without a gap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.rounds.tables import LABEL_BITS, Int64, Mask

#: Columns of runs.
_FIRST, _LAST, _ROW, _COUNT = range(4)


def locate(sorted_: Int64, wanted: Int64) -> tuple[Int64, Mask]:
    """Row of each wanted name in a sorted column, and whether it is there; row 0 where it isn't.

    Fast where names that follow each other in ``wanted`` are of one block. Peak: 17 B a wanted
    name, and 4 B a name and a wanted name.
    """
    return _locate(sorted_, wanted)


def is_among(sorted_: Int64, wanted: Int64) -> Mask:
    """Whether each wanted value is in a sorted column."""
    return locate(sorted_, wanted)[1]


@njit(nogil=True)
def _locate(names: Int64, wanted: Int64) -> tuple[Int64, Mask]:
    """By one table over the labels of blocks with gaps where that is small, else by bisection."""
    rows = np.zeros(wanted.size, np.int64)
    found = np.zeros(wanted.size, np.bool_)
    runs = runs_of(names)
    table, offsets = _table(names, runs, names.size + wanted.size)
    run = 0
    for k in range(wanted.size):
        name = wanted[k]
        if not _is_between(runs, run, name):
            run = _run_of(runs, run, name)
            if not _is_between(runs, run, name):
                continue
        row = runs[run, _ROW] + name - runs[run, _FIRST]
        if not _is_dense(runs, run):
            if table.size > 0:
                row = table[offsets[run] + name]
            else:
                row, run = row_of(names, runs, run, name)
        if row >= 0:
            rows[k] = row
            found[k] = True
    return rows, found


@njit(nogil=True)
def _table(names: Int64, runs: Int64, most: int) -> tuple[NDArray[np.int32], Int64]:
    """The row of each label of the blocks with gaps; empty where it would have more than ``most``."""
    offsets = np.zeros(len(runs), np.int64)  # of each block's name 0 in the table
    span = np.int64(0)
    for run in range(len(runs)):
        if not _is_dense(runs, run):
            offsets[run] = span - runs[run, _FIRST]
            span += runs[run, _LAST] - runs[run, _FIRST] + 1
    table = np.full(span if span <= most else 0, -1, np.int32)
    if table.size > 0:
        for run in range(len(runs)):
            if not _is_dense(runs, run):
                for row in range(runs[run, _ROW], runs[run, _ROW] + runs[run, _COUNT]):
                    table[offsets[run] + names[row]] = row
    return table, offsets


@njit(nogil=True)
def runs_of(names: Int64) -> Int64:
    """int64 (runs, 4): first and last name of each block, its first row and its rows; at least one."""
    count = 1
    for row in range(1, names.size):
        count += names[row] >> LABEL_BITS != names[row - 1] >> LABEL_BITS
    runs = np.zeros((count, 4), np.int64)
    if names.size == 0:
        runs[0, _FIRST] = 1  # above the last one: no name is between
        return runs
    run = 0
    runs[0, _FIRST] = names[0]
    for row in range(names.size):
        if row > 0 and names[row] >> LABEL_BITS != names[row - 1] >> LABEL_BITS:
            run += 1
            runs[run, _FIRST] = names[row]
            runs[run, _ROW] = row
        runs[run, _LAST] = names[row]
        runs[run, _COUNT] += 1
    return runs


@njit(nogil=True)
def _is_between(runs: Int64, run: int, name: int) -> bool:
    return bool(runs[run, _FIRST] <= name <= runs[run, _LAST])


@njit(nogil=True)
def _is_dense(runs: Int64, run: int) -> bool:
    """Whether a run has no gaps."""
    return bool(runs[run, _LAST] - runs[run, _FIRST] + 1 == runs[run, _COUNT])


@njit(nogil=True)
def _run_of(runs: Int64, guess: int, name: int) -> int:
    """The run of a name's block, or any if there is none."""
    if runs[guess, _FIRST] >> LABEL_BITS == name >> LABEL_BITS:
        return guess
    low = 0
    high = len(runs) - 1
    while low < high:
        middle = (low + high) // 2
        if runs[middle, _FIRST] >> LABEL_BITS < name >> LABEL_BITS:
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True)
def row_of(names: Int64, runs: Int64, guess: int, name: int) -> tuple[int, int]:
    """Row of a name, or -1; and the run to guess next."""
    run = guess
    if not _is_between(runs, run, name):
        run = _run_of(runs, run, name)
        if not _is_between(runs, run, name):
            return -1, run
    row = runs[run, _ROW] + name - runs[run, _FIRST]
    if not _is_dense(runs, run):
        begin, end = runs[run, _ROW], runs[run, _ROW] + runs[run, _COUNT]
        row = begin + np.searchsorted(names[begin:end], name)
        if names[row] != name:
            row = np.int64(-1)
    return row, run
