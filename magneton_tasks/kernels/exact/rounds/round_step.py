"""One task of a round: its regions, with all their edges, to what became of them and where it goes.

The first round begins with blocks and faces, every later one with what the round before sent. Both
end alike: `finish`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.rounds.blocks_table import Blocks
from magneton_tasks.kernels.exact.rounds.finish import RoundResult, finish
from magneton_tasks.kernels.exact.rounds.look_up import is_among, locate
from magneton_tasks.kernels.exact.rounds.name_table import number_names, numbers_of
from magneton_tasks.kernels.exact.rounds.numbering import number_contacts, number_half_edges
from magneton_tasks.kernels.exact.rounds.parts import Touching, links_of, picked, whole_basins
from magneton_tasks.kernels.exact.rounds.places import ONE, Places, moved_contacts
from magneton_tasks.kernels.exact.rounds.tables import (
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
    stack,
    take,
)


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
    unions = blocks.unions(stack([empty(Links), *(f.links for f in faces), links]), numbers)
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
