"""One task of a round: its regions, with all their edges, to what became of them and where it goes.

The first round begins with blocks and faces, every later one with what the round before sent. Both
end alike: `linking`, `records`, `sending`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.residual import Edges, UInt32
from magneton_tasks.kernels.exact.rounds.adding import add_parallel
from magneton_tasks.kernels.exact.rounds.curve import (
    Curve,
    Merged,
    ends_here,
    largest_ending,
    sums_of_contacts,
    sums_of_merges,
)
from magneton_tasks.kernels.exact.rounds.linking import Linked, link
from magneton_tasks.kernels.exact.rounds.parts import Touching, links_of, picked, whole_basins
from magneton_tasks.kernels.exact.rounds.records import Forest, Merges, record
from magneton_tasks.kernels.exact.rounds.sending import send
from magneton_tasks.kernels.exact.rounds.tables import (
    MUST,
    NO_SCORE,
    Crossings,
    FaceTables,
    HalfEdges,
    Int64,
    Links,
    Mask,
    Names,
    Nodes,
    OwnEdges,
    Parts,
    RegionContacts,
    blocks_of,
    empty,
    is_among,
    locate,
    stack,
    take,
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


class Blocks(NamedTuple):
    """What the blocks of a group leave, stacked; regions sorted by name."""

    nodes: Nodes
    edges: OwnEdges
    parts: Parts
    """Needed only where a face names a part instead of its region."""


def first_round(
    blocks: Blocks,
    numbers: Int64,
    faces: Sequence[FaceTables],
    near: Sequence[FaceTables],
    settings: ExactSettings,
) -> RoundResult:
    """The first round's task.

    Parameters
    ----------
    blocks
        Of the group.
    numbers
        int64, sorted: the blocks' numbers.
    faces
        All faces of these blocks to other blocks, whether of this group or not.
    near
        Faces of all blocks within max(s_min - 1, 1) voxels of the group, these included.
    """
    links, certain = _decide_parts(near, numbers, settings)
    u, v = (_regions_of(end, blocks.parts) for end in _own_links(faces, links, numbers))
    contacts = add_parallel(stack([empty(RegionContacts), *(f.contacts for f in faces)]))
    contacts = contacts._replace(
        key=np.where(_is_pair(contacts.a, contacts.b, certain), MUST, contacts.key)
    )
    own_a, own_b = (is_among(numbers, blocks_of(end)) for end in (contacts.a, contacts.b))
    inside = take(contacts, own_a & own_b)
    own = stack([blocks.edges, OwnEdges(inside.a, inside.b, *inside[4:])])
    return _finish(
        blocks.nodes,
        own,
        _outward(take(contacts, ~(own_a & own_b)), own_a[~(own_a & own_b)]),
        Links(u, v),
        int(numbers[0]),
        settings,
    )


def later_round(
    nodes: Nodes,
    half: HalfEdges,
    owner_of: Callable[[Int64], Int64],
    names_of_task: Callable[[int], Names],
    home: int,
    settings: ExactSettings,
) -> RoundResult:
    """The task of any later round.

    Parameters
    ----------
    nodes, half
        All that the round before sent to this group, in any order.
    owner_of
        From blocks to the tasks of the round before.
    names_of_task
        Reads what became of the regions of such a task; one is held at a time.
    home
        A block of this group.

    Raises
    ------
    BadDataError
        If the tables don't belong together.
    """
    nodes = take(nodes, np.argsort(nodes.name))
    half = _follow_names(half, owner_of, names_of_task)
    here = is_among(nodes.name, half.v)
    inside = take(half, here & (half.u < half.v))  # the other direction says the same
    own = add_parallel(OwnEdges(inside.u, inside.v, *inside[4:]))
    return _finish(nodes, own, add_parallel(take(half, ~here)), empty(Links), home, settings)


# ------------------------------------------------------------------ the first round's own
def _decide_parts(
    near: Sequence[FaceTables], numbers: Int64, settings: ExactSettings
) -> tuple[Links, Crossings]:
    """What small basins around here pick: links inside blocks, and contacts that are certain."""
    s_min = max(settings.s_min, 0)
    parts = stack([empty(Parts), *(f.parts for f in near)])
    parts = take(parts, np.unique(parts.part, return_index=True)[1])
    crossings = stack([empty(Crossings), *(f.crossings for f in near)])
    pairs = stack([f.pairs for f in near]) if near else None
    if pairs is None or not parts.part.size:
        return empty(Links), take(crossings, slice(0))
    across = Touching.of(parts, crossings)
    roots, sizes = whole_basins(parts, across, crossings.joined, s_min)
    large = np.zeros(roots.size, np.bool_)
    rows, found = locate(parts.part, np.concatenate([f.large for f in near]))
    large[roots[rows[found]]] = True
    picks = picked(
        parts,
        roots,
        (sizes < s_min) & ~large,
        Touching.of(parts, pairs),
        across,
        least_key(settings.t_size),
    )
    return links_of(parts, pairs, picks), take(crossings, picks.crossings)


def _own_links(faces: Sequence[FaceTables], more: Links, numbers: Int64) -> tuple[Int64, Int64]:
    """Links inside the group's blocks, those that the faces decided and ``more``."""
    links = stack([*(f.links for f in faces), more])
    ours = is_among(numbers, blocks_of(np.abs(links.u)))
    return links.u[ours], links.v[ours]


def _regions_of(ends: Int64, parts: Parts) -> Int64:
    """Regions, where an end is minus a part."""
    by_part = ends < 0
    if not by_part.any():
        return ends
    rows, found = locate(parts.part, -ends)
    if not found[by_part].all():
        raise _not_of_one_run("a face names a part of a basin that its block doesn't have")
    return np.where(by_part, parts.region[rows], ends)


def _is_pair(a: Int64, b: Int64, certain: Crossings) -> Mask:
    """Whether (a, b), sorted, are regions of one of these crossings."""
    found = np.zeros(a.size, np.bool_)
    if not a.size or not certain.a.size:
        return found
    pairs = np.unique(np.stack([certain.region_a, certain.region_b], axis=1), axis=0)
    begins = np.searchsorted(a, pairs[:, 0], "left")
    ends = np.searchsorted(a, pairs[:, 0], "right")
    for (_, wanted), begin, end in zip(pairs, begins, ends, strict=True):
        row = begin + np.searchsorted(b[begin:end], wanted)
        if row < end and b[row] == wanted:
            found[row] = True
    return found


def _outward(contacts: RegionContacts, a_is_own: Mask) -> HalfEdges:
    """Contacts that lead out of the group, seen from the own end."""
    u = np.where(a_is_own, contacts.a, contacts.b)
    v = np.where(a_is_own, contacts.b, contacts.a)
    size_v = np.where(a_is_own, contacts.size_b, contacts.size_a)
    return HalfEdges(u, v, blocks_of(v).astype(np.uint32), size_v, *contacts[4:])


# ------------------------------------------------------------------ later rounds' own
def _follow_names(
    half: HalfEdges,
    owner_of: Callable[[Int64], Int64],
    names_of_task: Callable[[int], Names],
) -> HalfEdges:
    """Other ends by the names that they have now; edges to what has closed go."""
    owner = owner_of(half.at.astype(np.int64))
    order = np.argsort(owner, kind="stable")
    v, at, size_v = half.v.copy(), half.at.copy(), half.size_v.copy()
    open_ = np.zeros(v.size, np.bool_)
    tasks, begins = np.unique(owner[order], return_index=True)
    for task, rows in zip(tasks, np.split(order, begins[1:]), strict=False):
        names = names_of_task(int(task))
        found, is_there = locate(names.old, half.v[rows])
        if not is_there.all():
            raise _not_of_one_run(f"a region that group {task} had isn't among its names")
        v[rows], at[rows] = names.new[found], names.at[found]
        size_v[rows], open_[rows] = names.size[found], names.open[found]
    return take(half._replace(v=v, at=at, size_v=size_v), open_)


def _not_of_one_run(what: str) -> BadDataError:
    return BadDataError(what, "the tables are of different runs: plan again")


# ------------------------------------------------------------------ what all rounds share
def _finish(
    nodes: Nodes,
    own: OwnEdges,
    outward: HalfEdges,
    links: Links,
    home: int,
    settings: ExactSettings,
) -> RoundResult:
    """Link, record and send.

    Parameters
    ----------
    nodes
        Sorted by name.
    own
        Each pair once.
    outward
        To ghosts, each pair once.
    links
        Own regions that are one.
    """
    count = nodes.name.size
    ghosts, ghost = np.unique(outward.v, return_inverse=True)
    ghost = ghost.reshape(-1)
    ghost_at = np.zeros(ghosts.size, np.uint32)
    ghost_at[ghost] = outward.at
    ghost_size = np.zeros(ghosts.size, np.int64)
    ghost_size[ghost] = outward.size_v
    edges = _numbered(nodes, own, outward, ghost)
    before = int(edges.sum.sum()), int(edges.count.sum())
    sizes = np.concatenate([[0], nodes.size, ghost_size])
    unions = np.stack([locate(nodes.name, end)[0] + 1 for end in links], axis=1)
    linked = link(count, sizes, edges, unions, settings)
    forest = _record(nodes, linked)
    sets = _Sets.of(nodes, linked, forest, ghosts, ghost_size, ghost_at)
    rest = _both_directions(linked.edges, count)
    send(count, rest, sets.at, sets.size, sets.name, settings)
    roots = linked.roots[1 : count + 1]
    kept = np.flatnonzero((roots == np.arange(1, count + 1)) & linked.open_[roots]) + 1
    sent = Nodes._make(column[kept] for column in sets)
    v_at = np.where(rest.v > count, sets.at[rest.v], np.uint32(home))
    half = HalfEdges(sets.name[rest.u], sets.name[rest.v], v_at, sets.size[rest.v], *rest[2:])
    names = _names(nodes, linked, forest, sets)
    swallowed = linked.between_sum - before[0], linked.between_count - before[1]
    curve = _curve(names, linked, forest) + sums_of_contacts((0, 0), swallowed)
    half_at = sets.at[rest.u].astype(np.int64)
    return RoundResult(names, sent, half, half_at, curve, linked.merges.gone.size)


def _numbered(nodes: Nodes, own: OwnEdges, outward: HalfEdges, ghost: Int64) -> Edges:
    """All edges by numbers: own regions from 1 in their order, then ghosts."""
    count = nodes.name.size
    ends_u = [locate(nodes.name, own.u)[0] + 1, locate(nodes.name, outward.u)[0] + 1]
    ends_v = [locate(nodes.name, own.v)[0] + 1, count + 1 + ghost]
    u, v = (np.concatenate(ends).astype(np.uint32) for ends in (ends_u, ends_v))
    columns = [np.concatenate(c) for c in zip(own[2:], outward[4:], strict=True)]
    return Edges(u, v, *columns)


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
        names.up,
        names.score,
        names.own_size,
        names.own_low,
        ends_here(names.open, names.low),
        names.least,
    )
    return replace(sums_of_merges(merged), largest=largest)


class _Sets(NamedTuple):
    """Sets of own regions and ghosts, (n + 1,) each, read at roots."""

    name: Int64
    size: Int64
    least: Int64
    low: UInt32
    at: UInt32

    @classmethod
    def of(
        cls,
        nodes: Nodes,
        linked: Linked,
        forest: Forest,
        ghosts: Int64,
        ghost_size: Int64,
        ghost_at: UInt32,
    ) -> _Sets:
        """A set has the name of its largest member, the smallest of equals, and is where that is."""
        count = nodes.name.size
        roots = linked.roots[1 : count + 1]
        size = np.zeros(count + 1, np.int64)
        np.add.at(size, roots, nodes.size)
        least = np.full(count + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, roots, nodes.least)
        order = np.lexsort((-nodes.name, nodes.size, roots))
        largest = np.zeros(count + 1, np.int64)
        largest[roots[order]] = order + 1
        name, at = np.append(0, nodes.name)[largest], np.append(0, nodes.at)[largest]
        none = np.zeros(ghosts.size, np.int64)
        low = np.full(count + 1 + ghosts.size, NO_SCORE, np.uint32)
        merged = forest.up[1:] != np.arange(1, count + 1)
        inside = np.minimum(nodes.low, np.where(merged, forest.score[1:], np.uint32(NO_SCORE)))
        np.minimum.at(low, roots, inside)
        return cls(
            np.append(name, ghosts),
            np.append(size, ghost_size),
            np.append(least, none),
            low,
            np.append(at, ghost_at).astype(np.uint32),
        )


def _both_directions(edges: Edges, count: int) -> Edges:
    """Edges twice, once from each end that is own."""
    u, v = np.append(edges.u, edges.v), np.append(edges.v, edges.u)
    columns = [np.append(c, c) for c in edges[2:]]
    ours = u <= count
    return Edges(u[ours], v[ours], *(c[ours] for c in columns))


def _names(nodes: Nodes, linked: Linked, forest: Forest, sets: _Sets) -> Names:
    roots = linked.roots[1 : nodes.name.size + 1]
    return Names(
        nodes.name,
        sets.name[roots],
        sets.size[roots],
        linked.open_[roots],
        sets.at[roots],
        sets.low[roots],
        nodes.least,
        nodes.size,
        nodes.low,
        forest.up[1:] - np.uint32(1),
        forest.score[1:],
    )
