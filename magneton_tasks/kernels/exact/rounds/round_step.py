"""One task of a round: its regions, with all their edges, to what became of them and where it goes.

The first round begins with blocks and faces, every later one with what the round before sent. Both
end alike: `finish`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.residual import DTYPES, Edges, UInt32
from magneton_tasks.kernels.exact.rounds.finish import RoundResult, finish
from magneton_tasks.kernels.exact.rounds.look_up import is_among, locate
from magneton_tasks.kernels.exact.rounds.name_table import number_names, numbers_of
from magneton_tasks.kernels.exact.rounds.numbering import number_contacts, number_half_edges
from magneton_tasks.kernels.exact.rounds.parts import Touching, links_of, picked, whole_basins
from magneton_tasks.kernels.exact.rounds.places import ONE, Places, moved_contacts
from magneton_tasks.kernels.exact.rounds.tables import (
    LABEL_BITS,
    MUST,
    Crossings,
    FaceTables,
    HalfEdges,
    Int64,
    Links,
    Mask,
    Names,
    Nodes,
    Parts,
    RegionContacts,
    blocks_of,
    empty,
    labels_of,
    stack,
    take,
)


class Blocks(NamedTuple):
    """What the blocks of a group leave, one block after the other in the order of their numbers."""

    nodes: Nodes
    """Sorted by name."""
    edges: Edges
    """Between nodes by their rows, from 1; behind them room for contacts, whose values mean nothing."""
    filled: int
    """Rows that are edges."""
    numbers: Int64
    """The blocks that have rows."""
    begins: Int64
    """(blocks + 1,): where each one's basins begin, and their end."""
    basins: UInt32
    """Region of each basin on the blocks' faces, by its label."""

    @classmethod
    def of(
        cls, blocks: Iterable[tuple[Nodes, Edges, UInt32]], regions: int, edges: int, room: int = 0
    ) -> Blocks:
        """Of blocks in the order of their numbers; one is held at a time.

        Parameters
        ----------
        blocks
            Open regions of each, edges by rows of these, from 1, and `Blocks.basins`.
        regions, edges
            Of all blocks.
        room
            Rows for contacts.
        """
        nodes, table = _room_for(Nodes, regions), _room_for(Edges, edges + room)
        numbers, basins = list[int](), [np.zeros(0, np.uint32)]
        row = count = 0
        for own, between, on_faces in blocks:
            if not own.name.size:
                continue
            _put(nodes, row, own)
            end = count + _put(table, count, between)
            table.u[count:end] += np.uint32(row)
            table.v[count:end] += np.uint32(row)
            numbers.append(int(blocks_of(own.name[:1])[0]))
            basins.append(on_faces)
            row, count = row + own.name.size, end
        begins = np.cumsum([part.size for part in basins], dtype=np.int64)
        return cls(nodes, table, count, np.array(numbers, np.int64), begins, np.concatenate(basins))

    def with_contacts(self, contacts: Edges) -> Edges:
        """All edges, with those that are put into the room."""
        kept = slice(self.filled + _put(self.edges, self.filled, contacts))
        return Edges._make(column[kept] for column in self.edges)

    def regions_of(self, parts: Int64) -> tuple[Int64, Mask]:
        """Names of parts' regions, and whether the parts are there."""
        rows, found = locate(self.numbers, blocks_of(parts))
        at = self.begins[rows] + labels_of(parts) - 1
        found = found & (at < self.begins[rows + 1])
        labels = self.basins[np.where(found, at, 0)] if found.any() else np.zeros(parts.size)
        return (blocks_of(parts) << LABEL_BITS) + labels.astype(np.int64), found


_DTYPES = {Edges: DTYPES[Edges], Nodes: tuple(c.dtype for c in empty(Nodes))}


def _room_for(kind: type[Any], rows: int) -> Any:
    """A table whose values mean nothing."""
    return kind._make(np.empty(rows, dtype) for dtype in _DTYPES[kind])


def _put(table: Any, begin: int, rows: Any) -> int:
    """Write rows into a table of their kind; returns how many."""
    count: int = rows[0].size
    for column, values in zip(table, rows, strict=True):
        column[begin : begin + count] = values
    return count


def first_round(
    blocks: Blocks,
    numbers: Int64,
    faces: Sequence[FaceTables],
    near: Sequence[FaceTables],
    settings: ExactSettings,
    places: Places = ONE,
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
    places
        Over which the map is compared; `places.ONE`: it isn't.

    Raises
    ------
    BadDataError
        If the tables don't belong together.
    """
    links, certain = _decide_parts(near, numbers, settings)
    unions = _own_unions(blocks, [*(f.links for f in faces), links], numbers)
    contacts = stack([empty(RegionContacts), *(f.contacts for f in faces), certain])
    moved = moved_contacts(places, contacts, numbers)
    edges, ghosts = number_contacts(blocks.nodes.name, contacts)
    del contacts, certain
    if is_among(numbers, blocks_of(ghosts.name)).any():
        raise _not_of_one_run("a face names a region that its block doesn't have")
    edges = blocks.with_contacts(edges)
    return finish(blocks.nodes, edges, ghosts, unions, int(numbers[0]), settings, places, moved)


def later_round(
    nodes: Nodes,
    half: HalfEdges,
    owner_of: Callable[[Int64], Int64],
    names_of_task: Callable[[int], Names],
    home: int,
    settings: ExactSettings,
    places: Places = ONE,
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
    places
        As `first_round`.

    Raises
    ------
    BadDataError
        If the tables don't belong together.
    """
    nodes = take(nodes, np.argsort(nodes.name))
    half, open_ = _follow_names(half, owner_of, names_of_task)
    table = number_names(nodes.name)
    edges, ghosts, all_there = number_half_edges(table, nodes.name.size, half, open_)
    del table, half, open_
    if not all_there:
        raise _not_of_one_run("an edge was sent to this group without its region")
    return finish(nodes, edges, ghosts, np.zeros((0, 2), np.int64), home, settings, places)


# ------------------------------------------------------------------ the first round's own
def _decide_parts(
    near: Sequence[FaceTables], numbers: Int64, settings: ExactSettings
) -> tuple[Links, RegionContacts]:
    """What small basins around here pick: links inside blocks, and contacts that are certain.

    Those of own regions only, without sums: rows that unite what other rows sum up.
    """
    s_min = max(settings.s_min, 0)
    parts = stack([empty(Parts), *(f.parts for f in near)])
    if not parts.part.size:
        return empty(Links), empty(RegionContacts)
    table = number_names(parts.part)
    # One that lies on many faces comes with each of them: its first row stands for all.
    firsts = numbers_of(table, parts.part) == np.arange(1, parts.part.size + 1)
    if not firsts.all():
        parts = take(parts, firsts)
        table = number_names(parts.part)
    crossings, pairs = stack([f.crossings for f in near]), stack([f.pairs for f in near])
    across = Touching.of(table, crossings)
    roots, sizes = whole_basins(parts.size, across, crossings.joined, s_min)
    small = sizes < s_min
    large = numbers_of(table, np.concatenate([f.large for f in near])) - 1
    small[roots[large[large >= 0]]] = False
    inside = Touching.of(table, pairs)
    picks = picked(parts.key, roots, small, inside, across, least_key(settings.t_size))
    certain = take(crossings, picks.crossings)
    return links_of(parts, pairs, picks), _certain_rows(certain, numbers)


def _certain_rows(certain: Crossings, numbers: Int64) -> RegionContacts:
    a, b = certain.region_a, certain.region_b
    ours = is_among(numbers, blocks_of(a)) | is_among(numbers, blocks_of(b))
    a, b = a[ours], b[ours]
    none = np.zeros(a.size, np.int64)
    return RegionContacts(a, b, none, none, none, none, none, np.full(a.size, MUST))


def _own_unions(blocks: Blocks, links: Sequence[Links], numbers: Int64) -> Int64:
    """Links inside the group's blocks, as int64 (rows, 2) of numbers of nodes."""
    both = stack([empty(Links), *links])
    ours = is_among(numbers, blocks_of(np.abs(both.u)))
    unions = np.empty((np.count_nonzero(ours), 2), np.int64)
    for column, ends in enumerate(both):
        rows, found = locate(blocks.nodes.name, _regions_of(ends[ours], blocks))
        if not found.all():
            raise _not_of_one_run("a face links a region that its block doesn't have")
        unions[:, column] = rows + 1
    return unions


def _regions_of(ends: Int64, blocks: Blocks) -> Int64:
    """Regions, where an end is minus a part."""
    by_part = np.flatnonzero(ends < 0)
    named, found = blocks.regions_of(-ends[by_part])
    if not found.all():
        raise _not_of_one_run("a face names a part of a basin that its block doesn't have")
    regions = ends.copy()
    regions[by_part] = named
    return regions


# ------------------------------------------------------------------ later rounds' own
def _follow_names(
    half: HalfEdges,
    owner_of: Callable[[Int64], Int64],
    names_of_task: Callable[[int], Names],
) -> tuple[HalfEdges, Mask]:
    """Other ends by the names that they have now; and whether these are open still."""
    owner = owner_of(half.at.astype(np.int64))
    order = np.argsort(owner, kind="stable")
    half = half._replace(v=half.v.copy(), at=half.at.copy(), size_v=half.size_v.copy())
    open_ = np.zeros(owner.size, np.bool_)
    tasks, begins = np.unique(owner[order], return_index=True)
    for task, rows in zip(tasks, np.split(order, begins[1:]), strict=False):
        names = names_of_task(int(task))
        found, is_there = locate(names.old, half.v[rows])
        if not is_there.all():
            raise _not_of_one_run(f"a region that group {task} had isn't among its names")
        half.v[rows], half.at[rows] = names.new[found], names.at[found]
        half.size_v[rows], open_[rows] = names.size[found], names.open[found]
    return half, open_


def _not_of_one_run(what: str) -> BadDataError:
    return BadDataError(what, "the tables are of different runs: plan again")
