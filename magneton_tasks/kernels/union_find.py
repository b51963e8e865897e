"""Disjoint sets as an array of parents, for use inside compiled kernels.

A root is always the smallest node of its set, so parents never point forwards: one ascending pass
flattens them all, and the result doesn't depend on the order in which sets were united. The arrays
may be of any integer dtype that holds their own indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit

Integers = NDArray[Any]


@njit(nogil=True)
def find(parents: Integers, i: int) -> int:
    """Root of node i. Halves the path on the way: ``parents`` is written to."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@njit(nogil=True)
def unite(parents: Integers, i: int, j: int) -> None:
    """Make one set of those of i and j; the smaller root stays a root."""
    i = find(parents, i)
    j = find(parents, j)
    if i < j:
        parents[j] = i
    elif j < i:
        parents[i] = j


@njit(nogil=True)
def flatten(parents: Integers) -> None:
    """Point every node at its root."""
    for i in range(parents.size):
        parents[i] = parents[parents[i]]


@njit(nogil=True)
def number_roots(roots: Integers, first: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], int, int]:
    """Dense numbers for the sets of nodes 1..n: those of ``first`` come first, each in order.

    Parameters
    ----------
    roots
        (n + 1,), flat: ``roots[i]`` is the smallest node of i's set. Node 0 stands for none.
    first
        bool (n + 1,), read at roots only.

    Returns
    -------
    numbers
        uint32 (n + 1,): of each node's set; 0 of node 0.
    first_count, count
        Sets of ``first`` have the numbers 1..first_count, the others go on to ``count``.
    """
    numbers = np.zeros(roots.size, np.uint32)
    count = 0
    first_count = 0
    for i in range(1, roots.size):
        if roots[i] == i and first[i]:
            first_count += 1
            numbers[i] = first_count
    count = first_count
    for i in range(1, roots.size):
        if roots[i] == i and not first[i]:
            count += 1
            numbers[i] = count
    for i in range(1, roots.size):
        numbers[i] = numbers[roots[i]]
    return numbers, first_count, count


@njit(nogil=True)
def renumber(values: Integers, numbers: NDArray[np.uint32]) -> None:
    """Replace each node in a flat array by its number, in place."""
    for i in range(values.size):
        values[i] = numbers[values[i]]


@njit(nogil=True)
def add_by_number(values: Integers, numbers: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
    """int64 (count + 1,): the sum of ``values`` over the nodes of each number."""
    total = np.zeros(count + 1, np.int64)
    for i in range(values.size):
        total[numbers[i]] += values[i]
    return total
