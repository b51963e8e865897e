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
from magneton_tasks.kernels.exact.rounds.tables import (
    Crossings,
    Int64,
    Links,
    Mask,
    PartPairs,
    Parts,
    locate,
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
    def of(cls, parts: Parts, edges: PartPairs | Crossings) -> Touching:
        a, is_a = locate(parts.part, edges.a)
        b, is_b = locate(parts.part, edges.b)
        return cls(np.where(is_a, a, -1), np.where(is_b, b, -1), edges.key)


def whole_basins(
    parts: Parts, crossings: Touching, joined: Mask, s_min: int
) -> tuple[Int64, Int64]:
    """Unite the parts of each basin.

    Returns
    -------
    roots
        int64 (parts,): the first part of each one's basin.
    sizes
        int64 (parts,), read at roots: voxels, of each part up to s_min.
    """
    roots = _unite_joined(parts.part.size, crossings.a, crossings.b, joined)
    sizes = np.zeros(roots.size, np.int64)
    np.add.at(sizes, roots, np.minimum(parts.size, s_min))
    return roots, sizes


@njit(nogil=True)
def _unite_joined(count: int, a: Int64, b: Int64, joined: Mask) -> Int64:
    roots = np.arange(count)
    for k in range(a.size):
        if joined[k] and a[k] >= 0 and b[k] >= 0:
            unite(roots, a[k], b[k])
    flatten(roots)
    return roots


@njit(nogil=True)
def unite_pairs(count: int, a: Int64, b: Int64) -> Int64:
    """Roots of 0..count - 1 once each a is united with its b."""
    roots = np.arange(count)
    for k in range(a.size):
        unite(roots, a[k], b[k])
    flatten(roots)
    return roots


def picked(
    parts: Parts,
    roots: Int64,
    picking: Mask,
    pairs: Touching,
    crossings: Touching,
    least_key: int,
) -> Picks:
    """The best edge out of each basin that picks.

    Parameters
    ----------
    roots
        Of `whole_basins`.
    picking
        bool (parts,), read at roots: these basins are small, and all their parts are here.
    least_key
        `ExactSettings.least_key`; pairs and keys of parts are above it already.
    """
    best = np.zeros(roots.size, np.int64)
    picks = picking[roots] & (parts.key > 0)
    np.maximum.at(best, roots[picks], parts.key[picks])
    _offer(roots, picking, *pairs, 0, best)
    _offer(roots, picking, *crossings, least_key, best)
    return Picks(
        picks & (parts.key == best[roots]),
        _is_best(roots, picking, *pairs, 0, best),
        _is_best(roots, picking, *crossings, least_key, best),
    )


@njit(nogil=True)
def _basin_that_picks(roots: Int64, picking: Mask, part: int, other: int) -> int:
    """The basin of a part, if it picks and the edge to the other part leads out of it; else -1."""
    if part < 0 or not picking[roots[part]]:
        return -1
    if other >= 0 and roots[other] == roots[part]:
        return -1
    return int(roots[part])


@njit(nogil=True)
def _offer(
    roots: Int64, picking: Mask, a: Int64, b: Int64, key: Int64, least_key: int, best: Int64
) -> None:
    """Raise ``best`` to the keys of edges that lead out of basins."""
    for k in range(a.size):
        if key[k] > least_key:
            for part, other in ((a[k], b[k]), (b[k], a[k])):
                basin = _basin_that_picks(roots, picking, part, other)
                if basin >= 0:
                    best[basin] = max(best[basin], key[k])


@njit(nogil=True)
def _is_best(
    roots: Int64, picking: Mask, a: Int64, b: Int64, key: Int64, least_key: int, best: Int64
) -> Mask:
    """Which edges are some basin's best."""
    won = np.zeros(a.size, np.bool_)
    for k in range(a.size):
        if key[k] > least_key:
            for part, other in ((a[k], b[k]), (b[k], a[k])):
                basin = _basin_that_picks(roots, picking, part, other)
                won[k] |= basin >= 0 and best[basin] == key[k]
    return won


def links_of(parts: Parts, pairs: PartPairs, picks: Picks) -> Links:
    """Picks inside blocks, as regions that are one, or as parts whose regions are."""
    return Links(
        np.concatenate([parts.region[picks.own], -pairs.a[picks.pairs]]),
        np.concatenate([parts.target[picks.own], -pairs.b[picks.pairs]]),
    )
