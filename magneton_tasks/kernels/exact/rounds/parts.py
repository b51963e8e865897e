"""Small basins that reach over faces: parts, what they make together, and what that picks.

A basin of fewer than s_min voxels picks the basin across its best outgoing voxel edge
(`clean_up`). Of one that reaches over a face each block knows a part. A face decides those of
which all parts lie on it alone; all others are decided by every task of the first round that has
to know: its tables hold all parts in reach, so neighbours find the same without asking each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.rounds.name_table import numbers_of
from magneton_tasks.kernels.exact.rounds.tables import (
    Crossings,
    Int64,
    Links,
    Mask,
    PartPairs,
    Parts,
)
from magneton_tasks.kernels.union_find import flatten, unite


class Picks(NamedTuple):
    """Which edges small basins pick."""

    own: Mask
    """(parts,): the part's ``key``."""
    pairs: Mask
    crossings: Mask


class Touching(NamedTuple):
    """Edges between parts by rows of their table; -1: an end that isn't in it."""

    a: Int64
    b: Int64
    key: Int64

    @classmethod
    def of(cls, table: Int64, edges: PartPairs | Crossings) -> Touching:
        """``table``: of `name_table.number_names`, rows of parts from 1."""
        return cls(numbers_of(table, edges.a) - 1, numbers_of(table, edges.b) - 1, edges.key)


def whole_basins(
    part_sizes: Int64, crossings: Touching, joined: Mask, s_min: int
) -> tuple[Int64, Int64]:
    """Unite the parts of each basin.

    Returns
    -------
    roots
        int64 (parts,): the first part of each one's basin.
    sizes
        int64 (parts,), read at roots: voxels, of each part up to s_min.
    """
    return _whole_basins(part_sizes, crossings.a, crossings.b, joined, s_min)


@njit(nogil=True)
def _whole_basins(
    part_sizes: Int64, a: Int64, b: Int64, joined: Mask, s_min: int
) -> tuple[Int64, Int64]:
    roots = np.arange(part_sizes.size)
    for k in range(a.size):
        if joined[k] and a[k] >= 0 and b[k] >= 0:
            unite(roots, a[k], b[k])
    flatten(roots)
    sizes = np.zeros(roots.size, np.int64)
    for part in range(roots.size):
        sizes[roots[part]] += min(part_sizes[part], s_min)
    return roots, sizes


def picked(
    part_keys: Int64,
    roots: Int64,
    picking: Mask,
    pairs: Touching,
    crossings: Touching,
    least_key: int,
) -> Picks:
    """The best edge out of each basin that picks.

    Parameters
    ----------
    part_keys
        Of `Parts`.
    roots
        Of `whole_basins`.
    picking
        bool (parts,), read at roots: these basins are small, and all their parts are here.
    least_key
        `ExactSettings.least_key`; pairs and keys of parts are above it already.
    """
    best = np.zeros(roots.size, np.int64)
    _offer_own(roots, picking, part_keys, best)
    _offer(roots, picking, *pairs, 0, best)
    _offer(roots, picking, *crossings, least_key, best)
    return Picks(
        _is_own_best(roots, picking, part_keys, best),
        _is_best(roots, picking, *pairs, 0, best),
        _is_best(roots, picking, *crossings, least_key, best),
    )


@njit(nogil=True)
def _offer_own(roots: Int64, picking: Mask, keys: Int64, best: Int64) -> None:
    """Raise ``best`` to the keys of basins' own parts."""
    for part in range(roots.size):
        if picking[roots[part]]:
            best[roots[part]] = max(best[roots[part]], keys[part])


@njit(nogil=True)
def _is_own_best(roots: Int64, picking: Mask, keys: Int64, best: Int64) -> Mask:
    won = np.zeros(roots.size, np.bool_)
    for part in range(roots.size):
        root = roots[part]
        won[part] = picking[root] and keys[part] > 0 and keys[part] == best[root]
    return won


@njit(nogil=True)
def _offer(
    roots: Int64, picking: Mask, a: Int64, b: Int64, key: Int64, least_key: int, best: Int64
) -> None:
    """Raise ``best`` to the keys of edges that lead out of basins."""
    for k in range(a.size):
        if key[k] <= least_key:
            continue
        basin_a = roots[a[k]] if a[k] >= 0 else -1
        basin_b = roots[b[k]] if b[k] >= 0 else -1
        if basin_a == basin_b:
            continue
        if basin_a >= 0 and picking[basin_a] and key[k] > best[basin_a]:
            best[basin_a] = key[k]
        if basin_b >= 0 and picking[basin_b] and key[k] > best[basin_b]:
            best[basin_b] = key[k]


@njit(nogil=True)
def _is_best(
    roots: Int64, picking: Mask, a: Int64, b: Int64, key: Int64, least_key: int, best: Int64
) -> Mask:
    """Which edges are some basin's best."""
    won = np.zeros(a.size, np.bool_)
    for k in range(a.size):
        if key[k] <= least_key:
            continue
        basin_a = roots[a[k]] if a[k] >= 0 else -1
        basin_b = roots[b[k]] if b[k] >= 0 else -1
        if basin_a != basin_b:
            won[k] = (basin_a >= 0 and picking[basin_a] and best[basin_a] == key[k]) or (
                basin_b >= 0 and picking[basin_b] and best[basin_b] == key[k]
            )
    return won


def links_of(parts: Parts, pairs: PartPairs, picks: Picks) -> Links:
    """Picks inside blocks, as regions that are one, or as parts whose regions are."""
    return Links(
        np.concatenate([parts.region[picks.own], -pairs.a[picks.pairs]]),
        np.concatenate([parts.target[picks.own], -pairs.b[picks.pairs]]),
    )
