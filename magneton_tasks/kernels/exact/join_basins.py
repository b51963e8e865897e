"""The first half of a join: basins that meet at the faces.

Basins become whole before regions do anything: parts that meet are one basin, its size and best
outgoing edge follow from those of its parts, and a small one picks the basin behind that edge just
as in the clean-up of a block. Regions of basins that are one, or that picked each other, are one.

A basin on an outer face of the group may still grow, and goes on into the residual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.face_basins import contact_basins, outer_sides_of
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.join_tables import Children
from magneton_tasks.kernels.exact.residual import (
    BasinPairs,
    Basins,
    Contacts,
    FaceBasins,
    Int64,
    Mask,
    UInt8,
    UInt32,
)
from magneton_tasks.kernels.union_find import flatten, number_roots, unite


class JoinedBasins(NamedTuple):
    """What the basins make of the regions of n children, and what of them stays open."""

    roots: UInt32
    """(n + 1,): the smallest region of each one's set."""
    open_: Mask
    """(n + 1,): roots that may still grow elsewhere."""
    basins: Basins
    """On outer faces; region and target are the children's."""
    pairs: BasinPairs
    face_basins: FaceBasins
    contact_a: UInt32
    contact_b: UInt32
    """(contacts,): root of the region on either side."""


class _Merged(NamedTuple):
    """Basins of the children, (basins + 1,) each; read at roots, but for the root itself."""

    root: UInt32
    region: UInt32
    size: UInt32
    key: Int64
    target: UInt32
    outer: Mask
    """On an outer face."""


def join_basins(
    children: Children,
    contacts: Contacts,
    outer_blocks: UInt32,
    outer_sides: UInt8,
    settings: ExactSettings,
) -> JoinedBasins:
    """Make basins whole; 5 B a region, 5 B a basin, 16 B a pair and 24 B a contact above its arguments.

    Parameters
    ----------
    children
        **basins are written to**, all else stays.
    contacts, outer_blocks, outer_sides
        See `join.join`.

    Raises
    ------
    BadDataError
        If contacts name a basin that isn't on a face of these children.
    """
    faces = children.face_basins
    a, b = contact_basins(faces, contacts)
    merged = _Merged(
        np.arange(children.basins.region.size, dtype=np.uint32),
        *children.basins,
        np.zeros(children.basins.region.size, np.bool_),
    )
    _unite_joined(merged.root, a, b, contacts.joined)
    sides = faces.sides & outer_sides_of(faces.block, outer_blocks, outer_sides)
    merged.outer[merged.root[faces.index[sides > 0]]] = True
    s_min = max(settings.s_min, 0)
    _add_parts(merged.root, merged.size, merged.key, merged.target, s_min)

    pairs = _offer(children.pairs, merged, s_min, 0)
    crossing = BasinPairs(a, b, contacts.key)
    more = _offer(crossing, merged, s_min, least_key(settings.t_size))
    roots, open_ = _unite_regions(children.regions.block.size, *merged, s_min)
    numbers, _, _ = number_roots(merged.root, merged.outer)
    numbers[~merged.outer[merged.root]] = 0
    return JoinedBasins(
        roots,
        open_,
        _still_open(merged, s_min),
        _best_of_pairs(numbers, pairs, more),
        _renumbered(faces, sides, numbers),
        roots[merged.region[a]],
        roots[merged.region[b]],
    )


# ------------------------------------------------------------------ basins become whole
@njit(nogil=True)
def _unite_joined(root: UInt32, a: UInt32, b: UInt32, joined: Mask) -> None:
    """Step 9a: basins are one if either side picked the other, or an edge has t_high."""
    for k in range(a.size):
        if joined[k]:
            unite(root, a[k], b[k])
    flatten(root)


@njit(nogil=True)
def _add_parts(root: UInt32, size: UInt32, key: Int64, target: UInt32, s_min: int) -> None:
    """Sizes, up to s_min, and the best edges to basins on no outer face of a child."""
    for i in range(1, root.size):
        r = root[i]
        if r == i:
            continue
        size[r] = min(int(size[r]) + int(size[i]), s_min)
        if key[i] > key[r]:
            key[r] = key[i]
            target[r] = target[i]


def _offer(edges: BasinPairs, merged: _Merged, s_min: int, least_key: int) -> BasinPairs:
    """Step 9b: offer voxel edges to the small basins that they lead out of; what is left of them.

    What is left lies between two basins on outer faces, one of them small so far.
    """
    waiting = _offer_edges(edges.a, edges.b, edges.key, *merged, s_min, least_key)
    return BasinPairs(
        merged.root[edges.a[waiting]], merged.root[edges.b[waiting]], edges.key[waiting]
    )


@njit(nogil=True)
def _offer_edges(
    a: UInt32,
    b: UInt32,
    edge_key: Int64,
    root: UInt32,
    region: UInt32,
    size: UInt32,
    key: Int64,
    target: UInt32,
    outer: Mask,
    s_min: int,
    least_key: int,
) -> Mask:
    """Whether each edge has to wait; updates key and target of roots."""
    waiting = np.zeros(a.size, np.bool_)
    for k in range(a.size):
        x = root[a[k]]
        y = root[b[k]]
        if x == y or edge_key[k] <= least_key:
            continue
        if outer[x] and outer[y]:
            waiting[k] = size[x] < s_min or size[y] < s_min
            continue
        if size[x] < s_min and edge_key[k] > key[x]:
            key[x] = edge_key[k]
            target[x] = region[y]
        if size[y] < s_min and edge_key[k] > key[y]:
            key[y] = edge_key[k]
            target[y] = region[x]
    return waiting


@njit(nogil=True)
def _unite_regions(
    n: int,
    root: UInt32,
    region: UInt32,
    size: UInt32,
    key: Int64,
    target: UInt32,
    outer: Mask,
    s_min: int,
) -> tuple[UInt32, Mask]:
    """Step 9c: roots and opens of the children's regions, of which ``n`` includes none's row."""
    roots = np.arange(n).astype(np.uint32)
    for i in range(1, root.size):
        unite(roots, region[i], region[root[i]])
        if root[i] == i and not outer[i] and size[i] < s_min and key[i] > 0:
            unite(roots, region[i], target[i])
    flatten(roots)
    open_ = np.zeros(n, np.bool_)
    for i in range(1, root.size):
        if root[i] == i and outer[i]:
            open_[roots[region[i]]] = True
            if size[i] < s_min and key[i] > 0:  # it may pick that region elsewhere
                open_[roots[target[i]]] = True
    return roots, open_


# ------------------------------------------------------------------ what goes on
def _still_open(merged: _Merged, s_min: int) -> Basins:
    """Roots on outer faces. One that has grown to s_min forgets its target: that may have closed."""
    kept = np.flatnonzero(merged.outer)
    size, key, target = merged.size[kept], merged.key[kept], merged.target[kept]
    key[size >= s_min] = 0
    target[key == 0] = 0
    return Basins(merged.region[kept], size, key, target)


def _best_of_pairs(numbers: UInt32, *waiting: BasinPairs) -> BasinPairs:
    """Voxel edges that wait, the best of each two basins: they become one basin, or that edge counts."""
    a = np.concatenate([numbers[edges.a] for edges in waiting])
    b = np.concatenate([numbers[edges.b] for edges in waiting])
    key = np.concatenate([edges.key for edges in waiting])
    pair = np.minimum(a, b).astype(np.int64) << 32 | np.maximum(a, b)
    order = np.argsort(pair)
    pair, key = pair[order], key[order]
    firsts = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])[: pair.size])
    if firsts.size:
        key = np.maximum.reduceat(key, firsts)
    pair = pair[firsts]
    return BasinPairs((pair >> 32).astype(np.uint32), pair.astype(np.uint32), key)


def _renumbered(faces: FaceBasins, sides: UInt8, numbers: UInt32) -> FaceBasins:
    """Rows of faces that stay outer ones, sorted by block and basin."""
    rows = np.flatnonzero(sides)
    rows = rows[np.argsort(faces.block[rows], kind="stable")]
    return FaceBasins(faces.block[rows], faces.basin[rows], sides[rows], numbers[faces.index[rows]])
