"""How every task of a round ends: link its regions, record what merged, send on what stays open."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import Edges, Mask, UInt32
from magneton_tasks.kernels.exact.rounds.curve import (
    Curve,
    Merged,
    ends_here,
    largest_ending,
    sums_of_contacts,
    sums_of_merges,
)
from magneton_tasks.kernels.exact.rounds.linking import Linked, link
from magneton_tasks.kernels.exact.rounds.numbering import Ghosts
from magneton_tasks.kernels.exact.rounds.places import (
    PlaceRows,
    Places,
    Scored,
    place_of_nodes,
    rows_of_round,
)
from magneton_tasks.kernels.exact.rounds.records import Forest, Merges, record
from magneton_tasks.kernels.exact.rounds.sending import send
from magneton_tasks.kernels.exact.rounds.tables import (
    NO_SCORE,
    HalfEdges,
    Int64,
    Names,
    Nodes,
)


class RoundResult(NamedTuple):
    """What a task leaves."""

    names: Names
    nodes: Nodes
    """Open sets, for the tasks that they go to, in the order of ``names``."""
    half: HalfEdges
    """Their edges: they go where the node of ``u`` goes."""
    half_at: Int64
    """int64 (half edges,): a block of the group that each goes to."""
    curve: Curve
    merges: int
    """By mean linkage."""
    places: PlaceRows
    """What of it lies where; none where the volume isn't compared."""


def finish(
    nodes: Nodes,
    edges: Edges,
    ghosts: Ghosts,
    unions: Int64,
    home: int,
    settings: ExactSettings,
    places: Places,
    moved: Int64 | None = None,
) -> RoundResult:
    """Link, record and send.

    Parameters
    ----------
    nodes
        Own regions, sorted by name: they are the numbers 1, 2, ...; ghosts follow.
    edges
        By numbers, any number of rows a pair. **Written to**.
    unions
        int64 (rows, 2): own regions that are one.
    home
        A block of this group.
    places
        Over which the map is compared.
    moved
        int64 (parts, 2): of `places.moved_contacts`; None: nothing is.
    """
    count = nodes.name.size
    sizes = np.concatenate([[0], nodes.size, ghosts.size])
    part = place_of_nodes(places, nodes.name, ghosts.size.size)
    linked = link(count, sizes, edges, unions, settings, part, places.count)
    forest = _record(nodes, linked)
    sets = _sets_of(nodes, linked, forest, ghosts)
    left = linked.edges
    send(count, left, sets.at, sets.size, sets.name, settings)
    kept = _open_roots(count, linked.roots, linked.open_)
    sent = Nodes._make(column[kept] for column in sets)
    half = _half_edges(count, left.u, left.v, *sets[:2], sets.at, home, *left[2:])
    names = _names(nodes, linked, forest, sets)
    total, number = linked.swallowed.sum(axis=0).tolist()
    curve = _curve(names, linked, forest) + sums_of_contacts((0, 0), (-total, -number))
    scored, united = Scored(*linked.merges), linked.united[: count + 1]
    contacts = -linked.swallowed if moved is None else moved - linked.swallowed
    rows = rows_of_round(places, part, sizes, united, scored, forest, contacts)
    merges = linked.merges.gone.size
    return RoundResult(names, sent, HalfEdges(*half[:-1]), half[-1], curve, merges, rows)


def _record(nodes: Nodes, linked: Linked) -> Forest:
    count = nodes.name.size
    merges = Merges(*linked.merges[:3])
    least, sizes = (np.append(0, column) for column in (nodes.least, nodes.size))
    low = np.append(np.uint32(0), nodes.low)
    forest = record(linked.united[: count + 1], merges, least, sizes, low)
    if forest.inversions:
        raise AssertionError(f"{forest.inversions} merges score more than one inside them")
    return forest


def _curve(names: Names, linked: Linked, forest: Forest) -> Curve:
    merged = Merged(forest.sizes_gone, forest.sizes_kept, forest.unscored, *linked.merges[2:])
    largest = largest_ending(
        forest.up[1:] - np.uint32(1),
        names.score,
        names.own_size,
        names.own_low,
        ends_here(names.open, names.low),
        names.least,
    )
    return replace(sums_of_merges(merged), largest=largest)


# ------------------------------------------------------------------ sets
class _Sets(NamedTuple):
    """Sets of own regions and ghosts, (n + 1,) each, read at roots."""

    name: Int64
    size: Int64
    least: Int64
    low: UInt32
    at: UInt32


def _sets_of(nodes: Nodes, linked: Linked, forest: Forest, ghosts: Ghosts) -> _Sets:
    """A set has the name of its largest member, the smallest of equals, and is where that is."""
    count, n = nodes.name.size, linked.roots.size - 1
    name, size = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    least = np.full(n + 1, np.iinfo(np.int64).max)
    low, at = np.full(n + 1, NO_SCORE, np.uint32), np.zeros(n + 1, np.uint32)
    name[count + 1 :], size[count + 1 :], at[count + 1 :] = ghosts
    _add_members(linked.roots, forest.up, forest.score, *nodes, name, size, least, low, at)
    return _Sets(name, size, least, low, at)


@njit(nogil=True)
def _add_members(
    roots: UInt32,
    up: UInt32,
    score: UInt32,
    own_name: Int64,
    own_size: Int64,
    own_least: Int64,
    own_low: UInt32,
    own_at: UInt32,
    name: Int64,
    size: Int64,
    least: Int64,
    low: UInt32,
    at: UInt32,
) -> None:
    """Fill the columns of own sets, which come as those of empty ones."""
    largest = np.zeros(own_name.size + 1, np.int64)
    for i in range(1, own_name.size + 1):
        root = roots[i]
        if own_size[i - 1] > largest[root]:  # of equals the first has the smallest name
            largest[root] = own_size[i - 1]
            name[root] = own_name[i - 1]
            at[root] = own_at[i - 1]
        size[root] += own_size[i - 1]
        least[root] = min(least[root], own_least[i - 1])
        low[root] = min(low[root], own_low[i - 1])
        if up[i] != i:
            low[root] = min(low[root], score[i])


@njit(nogil=True)
def _open_roots(own: int, roots: UInt32, open_: Mask) -> Int64:
    found = np.empty(own, np.int64)
    count = 0
    for i in range(1, own + 1):
        if roots[i] == i and open_[i]:
            found[count] = i
            count += 1
    return found[:count]


@njit(nogil=True)
def _half_edges(
    own: int,
    u: UInt32,
    v: UInt32,
    name: Int64,
    size: Int64,
    at: UInt32,
    home: int,
    sum_: Int64,
    count: Int64,
    last: Int64,
    key: Int64,
) -> tuple[Int64, Int64, UInt32, Int64, Int64, Int64, Int64, Int64, Int64]:
    """Columns of `HalfEdges`, each edge from each end that is own, and where ``u`` goes."""
    rows = 0
    for k in range(u.size):
        rows += (u[k] <= own) + (v[k] <= own)
    name_u, name_v = np.empty(rows, np.int64), np.empty(rows, np.int64)
    at_v, size_v = np.empty(rows, np.uint32), np.empty(rows, np.int64)
    sums, counts = np.empty(rows, np.int64), np.empty(rows, np.int64)
    lasts, keys = np.empty(rows, np.int64), np.empty(rows, np.int64)
    to = np.empty(rows, np.int64)
    row = 0
    for k in range(u.size):
        for here, there in ((u[k], v[k]), (v[k], u[k])):
            if here > own:
                continue
            name_u[row], name_v[row] = name[here], name[there]
            at_v[row] = at[there] if there > own else home
            size_v[row] = size[there]
            sums[row], counts[row] = sum_[k], count[k]
            lasts[row], keys[row] = last[k], key[k]
            to[row] = at[here]
            row += 1
    return name_u, name_v, at_v, size_v, sums, counts, lasts, keys, to


def _names(nodes: Nodes, linked: Linked, forest: Forest, sets: _Sets) -> Names:
    new, size, open_, at, low, up = _columns_of_sets(
        linked.roots[: nodes.name.size + 1],
        linked.open_,
        sets.name,
        sets.size,
        sets.at,
        sets.low,
        forest.up,
        forest.score,
    )
    score = forest.score[1:]
    kept = (nodes.least, nodes.size, nodes.low)
    return Names(nodes.name, new, size, open_, at, low, *kept, up, score)


@njit(nogil=True)
def _columns_of_sets(
    roots: UInt32,
    is_open: Mask,
    name: Int64,
    size: Int64,
    at: UInt32,
    low: UInt32,
    up: UInt32,
    score: UInt32,
) -> tuple[Int64, Int64, Mask, UInt32, UInt32, UInt32]:
    """Columns of `Names` for the own regions: of the set of each, and `Names.up`."""
    count = roots.size - 1
    new, voxels = np.empty(count, np.int64), np.empty(count, np.int64)
    open_, to = np.empty(count, np.bool_), np.empty(count, np.uint32)
    lowest, ups = np.empty(count, np.uint32), np.empty(count, np.uint32)
    nth = np.empty(count + 1, np.uint32)
    scored = 0
    for i in range(1, count + 1):
        nth[i] = scored  # of those that were merged without a score it isn't read
        scored += score[i] != NO_SCORE
    for i in range(1, count + 1):
        root = roots[i]
        new[i - 1], voxels[i - 1] = name[root], size[root]
        open_[i - 1], to[i - 1] = is_open[root], at[root]
        lowest[i - 1], ups[i - 1] = low[root], nth[up[i]]
    return new, voxels, open_, to, lowest, ups
