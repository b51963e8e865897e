"""Joins of the exact method by themselves: contacts over a face, and what `join` makes of residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import networkx as nx
import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact import region_graph
from magneton_tasks.kernels.exact.block_step import BlockSegmentation
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.faces import Face
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.join import Joined, join
from magneton_tasks.kernels.exact.join_edges import set_aside
from magneton_tasks.kernels.exact.join_tables import rows_of
from magneton_tasks.kernels.exact.position_ranks import rank_positions
from magneton_tasks.kernels.exact.residual import (
    DTYPES,
    BasinPairs,
    Basins,
    Contacts,
    Edges,
    FaceBasins,
    Joins,
    Regions,
    Residual,
    concatenate,
    empty,
    empty_residual,
)
from magneton_tasks.plan.join_tree import JoinTree
from tests.helpers.exact.volumes import volume
from tests.helpers.exact.whole import Grid, contacts_of, join_group, regular, segment_blocks

SHAPE: Vec3 = (14, 15, 16)
SETTINGS = ExactSettings(0.5, s2=20, dust=15, s_min=6)
X_LOW, X_HIGH = 1 << 4, 1 << 5


def table(kind: type[Any], rows: Sequence[Sequence[int]]) -> Any:
    """A table by rows."""
    columns = list(zip(*rows, strict=True)) or [()] * len(DTYPES[kind])
    return kind(*(np.array(c, t) for c, t in zip(columns, DTYPES[kind], strict=True)))


def key(affinity: int, position: int) -> int:
    return (affinity << KEY_BITS) - position


def residual(
    regions: Sequence[Sequence[int]],
    basins: Sequence[Sequence[int]],
    face_basins: Sequence[Sequence[int]],
    edges: Sequence[Sequence[int]] = (),
) -> Residual:
    """Regions (block, label, size), basins as their table, edges (u, v, affinity, position)."""
    return Residual(
        table(Regions, [(*r, 0, 0, 0)[:6] if len(r) == 3 else r for r in regions]),
        table(Edges, [(u, v, a, 1, p, key(a, p)) for u, v, a, p in edges]),
        table(Basins, basins),
        empty(BasinPairs),
        table(FaceBasins, face_basins),
    )


def contact(a: int, b: int, affinity: int, position: int, *, joined: bool = False) -> Contacts:
    """One voxel edge between face basins a of block 0 and b of block 1."""
    row = (0, 1, a, b, affinity, 1, position, key(affinity, position), joined)
    return table(Contacts, [row])  # type: ignore[no-any-return]


def joined(
    children: list[Residual],
    contacts: Contacts,
    settings: ExactSettings,
    outer: dict[int, int] | None = None,
) -> Joined:
    """`join`; by default, nothing is behind the faces of the group."""
    outer = outer or {}
    blocks, sides = np.array(list(outer), np.uint32), np.array(list(outer.values()), np.uint8)
    return join(children, contacts, blocks, sides, settings)


def rows(found: Any) -> set[tuple[int, ...]]:
    return set(zip(*(column.tolist() for column in found), strict=True))


def tables(of: Residual) -> dict[str, Any]:
    return {f.name: getattr(of, f.name) for f in fields(of)}


# ------------------------------------------------------------------ contacts
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contacts_are_the_voxel_edges_over_the_face(axis: int) -> None:
    random = np.random.default_rng(axis)
    shape, origin, whole = (6, 9), (40, 50, 60), (100, 90, 80)
    low = Face(
        random.integers(0, 5, shape).astype(np.uint32),
        random.random(shape) < 0.1,
        None,
    )
    high = Face(
        random.integers(0, 5, shape).astype(np.uint32),
        random.random(shape) < 0.1,
        random.integers(0, 256, shape).astype(np.uint8),
    )
    assert high.affinity is not None
    expected: dict[tuple[int, int], tuple[int, int, int, int, bool]] = {}
    others = [d for d in range(3) if d != axis]
    for i, j in np.ndindex(shape):
        a, b = int(low.basins[i, j]), int(high.basins[i, j])
        if a == 0 or b == 0:
            continue
        at = list(origin)
        at[others[0]] += i
        at[others[1]] += j
        position = 3 * int(np.ravel_multi_index(at, whole)) + axis
        value = int(high.affinity[i, j])
        one = bool(low.picks[i, j] or high.picks[i, j] or value >= 240)
        s, c, _, k, o = expected.get((a, b), (0, 0, 0, key(value, position), False))
        expected[a, b] = (s + value, c + 1, position, max(k, key(value, position)), o or one)
    found = face_contacts(low, high, axis, (3, 8), origin, whole, ExactSettings(0.5, t_high=240))
    assert list(zip(found.basin_a.tolist(), found.basin_b.tolist(), strict=True)) == sorted(
        expected
    )
    assert rows(found) == {(3, 8, *pair, *values) for pair, values in expected.items()}
    assert [column.dtype for column in found] == list(DTYPES[Contacts])


def test_a_face_without_basins_has_no_contacts() -> None:
    nothing = Face(np.zeros((3, 4), np.uint32), np.zeros((3, 4), np.bool_), None)
    high = nothing._replace(affinity=np.full((3, 4), 200, np.uint8))
    found = face_contacts(nothing, high, 0, (0, 1), (1, 0, 0), (2, 3, 4), SETTINGS)
    assert found.sum.size == 0


def test_faces_of_different_shapes_are_refused() -> None:
    low = Face(np.ones((3, 4), np.uint32), np.zeros((3, 4), np.bool_), None)
    high = Face(np.ones((3, 5), np.uint32), np.zeros((3, 5), np.bool_), np.ones((3, 5), np.uint8))
    with pytest.raises(BadDataError, match="blocks 4 and 5 along axis 0"):
        face_contacts(low, high, 0, (4, 5), (1, 0, 0), (2, 3, 4), SETTINGS)


# ------------------------------------------------------------------ what a join does, by hand
#: Block 0 has region 1 behind face basin 1, on the face to block 1; block 1 likewise.
LEFT = residual([(0, 1, 5)], [(1, 9, 0, 0)], [(0, 1, X_HIGH, 1)])
RIGHT = residual([(1, 1, 50)], [(1, 9, 0, 0)], [(1, 1, X_LOW, 1)])
NO_SIZES = ExactSettings(0.5, s2=0, dust=0, s_min=0)


@pytest.mark.parametrize(
    ("affinity", "joins", "expected"),
    [
        pytest.param(128, False, {(1, 1, 0, 1)}, id="the mean affinity is enough"),
        pytest.param(127, False, set(), id="it is not"),
        pytest.param(10, True, {(1, 1, 0, 1)}, id="one basin, whatever the affinity"),
    ],
)
def test_regions_meet_at_a_face(affinity: int, joins: bool, expected: set[tuple[int, ...]]) -> None:
    found = joined([LEFT, RIGHT], contact(1, 1, affinity, 7, joined=joins), NO_SIZES)
    assert rows(found.joins) == expected
    assert all(column.size == 0 for t in tables(found.residual).values() for column in t)


def test_regions_on_outer_faces_wait() -> None:
    found = joined([LEFT, RIGHT], contact(1, 1, 200, 7), NO_SIZES, {0: X_HIGH, 1: X_LOW})
    assert rows(found.joins) == set()
    assert rows(found.residual.regions) == {(0, 1, 1, 0, 0, 0), (1, 1, 1, 0, 0, 0)}
    assert rows(found.residual.edges) == {(1, 2, 200, 1, 7, key(200, 7))}
    assert rows(found.residual.face_basins) == {(0, 1, X_HIGH, 1), (1, 1, X_LOW, 2)}


def test_who_prefers_an_open_region_waits() -> None:
    """Region 1 is at the outer face; 2 prefers it, and 3 prefers 2; 4 and 5 prefer each other."""
    child = residual(
        [(0, n, 9) for n in range(1, 6)],
        [(1, 9, 0, 0)],
        [(0, 1, X_HIGH, 1)],
        [(1, 2, 220, 10), (2, 3, 210, 11), (3, 4, 150, 12), (4, 5, 190, 13)],
    )
    found = joined([child], empty(Contacts), NO_SIZES, {0: X_HIGH})
    assert {r[:2] for r in rows(found.residual.regions)} == {(0, 1), (0, 2), (0, 3), (0, 4)}
    assert rows(found.joins) == {(0, 5, 0, 4)}
    assert {r[:3] for r in rows(found.residual.edges)} == {(1, 2, 220), (2, 3, 210), (3, 4, 150)}


@pytest.mark.parametrize(
    ("size", "affinity", "expected"),
    [
        pytest.param(5, 90, {(0, 1, 0, 9)}, id="its best edge led to what closed before"),
        pytest.param(5, 120, {(0, 1, 1, 1)}, id="its best edge crosses the face"),
        pytest.param(10, 120, set(), id="large enough"),
        pytest.param(5, 4, {(0, 1, 0, 9)}, id="edge below t_size"),
    ],
)
def test_dust_joins_what_its_best_edge_leads_to(
    size: int, affinity: int, expected: set[tuple[int, ...]]
) -> None:
    left = residual([(0, 1, size, key(100, 3), 0, 9)], [(1, 9, 0, 0)], [(0, 1, X_HIGH, 1)])
    settings = ExactSettings(0.9, s2=0, dust=10, s_min=0, t_size=5)
    found = joined([left, RIGHT], contact(1, 1, affinity, 7), settings)
    assert rows(found.joins) == expected


def test_dust_below_t_size_stays() -> None:
    found = joined(
        [LEFT, RIGHT], contact(1, 1, 4, 7), ExactSettings(0.9, s2=0, dust=10, s_min=0, t_size=5)
    )
    assert rows(found.joins) == set()


def test_an_open_region_remembers_its_best_closed_neighbour() -> None:
    """Region 1 is open; 2 and 3 close here, 3 with the better edge; 4 is too large to be dust."""
    child = residual(
        [(0, 1, 3), (0, 2, 40), (0, 3, 40), (0, 4, 40)],
        [(1, 9, 0, 0), (4, 9, 0, 0)],
        [(0, 1, X_HIGH, 1), (0, 2, X_HIGH, 2)],
        [(1, 2, 90, 10), (1, 3, 95, 11), (2, 4, 99, 12)],
    )
    settings = ExactSettings(0.9, s2=0, dust=10, s_min=0)
    found = joined([child], empty(Contacts), settings, {0: X_HIGH})
    assert rows(found.joins) == set()
    assert rows(found.residual.regions) == {(0, 1, 3, key(95, 11), 0, 3), (0, 4, 10, 0, 0, 0)}
    assert rows(found.residual.edges) == set()


@pytest.mark.parametrize(
    ("size", "known"), [pytest.param(3, True, id="small"), pytest.param(4, False, id="grown")]
)
def test_a_basin_that_has_grown_forgets_its_target(size: int, known: bool) -> None:
    """The parts of a basin have 2 and 3 (or 4) voxels; from 6 on it picks nothing any more."""
    left = residual([(0, 1, 50), (0, 2, 50)], [(1, 2, key(80, 3), 2)], [(0, 1, X_LOW | X_HIGH, 1)])
    right = residual([(1, 1, 50)], [(1, size, 0, 0)], [(1, 1, X_LOW, 1)])
    settings = ExactSettings(0.9, s2=0, dust=0, s_min=6)
    found = joined([left, right], contact(1, 1, 60, 7, joined=True), settings, {0: X_LOW})
    expected = (1, 5, key(80, 3), 2) if known else (1, 6, 0, 0)
    assert rows(found.residual.basins) == {expected}
    # what it may still pick stays open
    assert {r[:2] for r in rows(found.residual.regions)} == {(0, 1), (0, 2)} if known else {(0, 1)}
    assert rows(found.residual.face_basins) == {(0, 1, X_LOW, 1)}


def test_a_small_basin_picks_once_it_is_whole() -> None:
    left = residual([(0, 1, 2), (0, 2, 50)], [(1, 2, key(80, 3), 2)], [(0, 1, X_HIGH, 1)])
    settings = ExactSettings(0.9, s2=0, dust=0, s_min=6)
    over_the_face = joined([left, RIGHT], contact(1, 1, 90, 7), settings)
    assert rows(over_the_face.joins) == {(1, 1, 0, 1)}
    inside = joined([left, RIGHT], contact(1, 1, 70, 7), settings)
    assert rows(inside.joins) == {(0, 2, 0, 1)}


def test_sums_that_are_too_large_to_score_are_refused() -> None:
    child = residual([(0, 1, 9), (0, 2, 9)], [], [], [(1, 2, 200, 5)])
    child.edges.sum[:] = 1 << 39
    with pytest.raises(BadDataError, match="affinities between two regions add up to"):
        joined([child], empty(Contacts), SETTINGS)


@pytest.mark.parametrize(
    "wrong", [contact(2, 1, 9, 9), contact(1, 7, 9, 9), contact(1, 1, 9, 9)._replace(block_b=np.array([5], np.uint32))]
)  # fmt: skip
def test_contacts_of_other_blocks_are_refused(wrong: Contacts) -> None:
    with pytest.raises(BadDataError, match="a contact names face basin"):
        joined([LEFT, RIGHT], wrong, SETTINGS)


# ------------------------------------------------------------------ what must not matter
def blocks_and_contacts(kind: str) -> tuple[list[BlockSegmentation], Contacts]:
    """3 x 2 x 2 blocks and all contacts."""
    grid = Grid(regular(SHAPE, (5, 8, 8)))
    blocks = segment_blocks(volume(kind, SHAPE, 1), grid, SETTINGS)
    faces = JoinTree.flat(grid.shape).faces(1, 0)
    contacts = [contacts_of(blocks, grid, block, axis, SETTINGS) for block, axis in faces]
    return blocks, concatenate(contacts)


def objects(joins: Joins) -> set[frozenset[tuple[int, int]]]:
    """What is one object, by (block, label)."""
    graph: nx.Graph[tuple[int, int]] = nx.Graph()
    graph.add_edges_from(((a, la), (b, lb)) for a, la, b, lb in rows(joins))
    return {frozenset(component) for component in nx.connected_components(graph)}


@pytest.mark.parametrize("kind", ["noise", "cells", "few"])
def test_the_order_of_children_and_contacts_does_not_matter(kind: str) -> None:
    blocks, contacts = blocks_and_contacts(kind)
    expected = joined([b.residual for b in blocks], contacts, SETTINGS)
    assert len(objects(expected.joins)) > 5
    random = np.random.default_rng(0)
    children = [blocks[i].residual for i in random.permutation(len(blocks))]
    shuffled = random.permutation(contacts.sum.size)
    found = joined(children, rows_of(contacts, shuffled), SETTINGS)
    assert objects(found.joins) == objects(expected.joins)


def test_children_are_taken_but_not_written_to() -> None:
    blocks, contacts = blocks_and_contacts("noise")
    before = [[c.copy() for t in tables(b.residual).values() for c in t] for b in blocks]
    children = [b.residual for b in blocks]
    contacts_before = [column.copy() for column in contacts]
    joined(children, contacts, SETTINGS)
    assert children == []
    after = [[c for t in tables(b.residual).values() for c in t] for b in blocks]
    for was, now in zip(sum(before, contacts_before), sum(after, list(contacts)), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("children", [0, 1, 3])
def test_nothing_makes_nothing(children: int) -> None:
    found = joined([empty_residual()] * children, empty(Contacts), SETTINGS)
    assert rows(found.joins) == set()
    for name, of in tables(found.residual).items():
        assert [c.dtype for c in of] == list(DTYPES[type(of)]), name
        assert all(c.size == 0 for c in of), name


def test_empty_children_among_others_change_nothing() -> None:
    blocks, contacts = blocks_and_contacts("noise")
    expected = joined([b.residual for b in blocks], contacts, SETTINGS)
    children = [r for b in blocks for r in (empty_residual(), b.residual)]
    found = joined([*children, empty_residual()], contacts, SETTINGS)
    assert rows(found.joins) == rows(expected.joins)


@pytest.mark.parametrize("kind", ["noise", "smooth"])
def test_a_join_that_closes_no_face_changes_nothing(kind: str) -> None:
    """All that stays open goes on under its name; of parallel pairs of basins the best one."""
    grid = Grid(regular(SHAPE, (5, 8, 8)))
    block = segment_blocks(volume(kind, SHAPE, 1), grid, SETTINGS)[4]
    low, high = zip(*grid.place(4).inner, strict=True)
    sides = sum(low[d] << 2 * d | high[d] << 2 * d + 1 for d in range(3))
    found = joined([block.residual], empty(Contacts), SETTINGS, {4: sides})
    assert rows(found.joins) == set()
    before, after = tables(block.residual), tables(found.residual)
    best: dict[tuple[int, int], int] = {}
    for a, b, k in rows(before.pop("pairs")):
        pair = min(a, b), max(a, b)
        best[pair] = max(best.get(pair, k), k)
    assert rows(after.pop("pairs")) == {(*pair, k) for pair, k in best.items()}
    assert len(before["edges"].u) > 20
    assert {name: rows(t) for name, t in after.items()} == {n: rows(t) for n, t in before.items()}


@pytest.mark.long  # compiles for 8 seconds; the sweep of a block with such indices stays in test_exact_block
def test_indices_of_64_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for more than 2^30 edges; through two levels, so that the residual is compared too."""
    grid = Grid(regular(SHAPE, (5, 8, 8)))
    tree = JoinTree(grid.shape, ((2, 2, 2), (2, 1, 1)))

    def both_levels() -> list[npt.NDArray[Any]]:
        blocks = segment_blocks(volume("noise", SHAPE, 1), grid, SETTINGS)
        residuals: list[Residual] = []
        columns: list[npt.NDArray[Any]] = []
        for level in (1, 2):
            below = residuals or [b.residual for b in blocks]
            residuals = []
            for group in range(tree.groups(level)):
                children = [below[c] for c in tree.children(level, group)]
                found = join_group(children, blocks, grid, tree, level, group, SETTINGS)
                residuals.append(found.residual)
                columns += [c for t in tables(found.residual).values() for c in t]
                columns += list(found.joins)
        return columns

    expected = both_levels()
    monkeypatch.setattr(region_graph, "MAX_INT32_EDGES", 0)
    assert region_graph.index_dtype(1, 1) is np.int64
    for one, other in zip(expected, both_levels(), strict=True):
        np.testing.assert_array_equal(one, other)


# ------------------------------------------------------------------ edges
@pytest.mark.parametrize("bits", [3, 10, 11, 12, 22, 23, 34, 50])
@pytest.mark.parametrize("size", [0, 1, 2, 500])
def test_ranks_of_positions(size: int, bits: int) -> None:
    random = np.random.default_rng(bits)
    positions = np.unique(random.integers(0, 1 << bits, size)) + (1 << 40)
    random.shuffle(positions)
    given = positions.copy()
    ranks = rank_positions(positions)
    np.testing.assert_array_equal(positions, np.sort(given))
    np.testing.assert_array_equal(positions[ranks], given)
    assert ranks.dtype == np.uint32


def test_edges_between_open_regions_are_set_aside() -> None:
    random = np.random.default_rng(0)
    ends = random.integers(1, 30, (2, 200)).astype(np.uint32)
    edges = Edges(*ends, *(random.integers(0, 1 << 40, (4, 200))))
    open_ = random.random(30) < 0.6
    before = rows(edges)
    count = set_aside(*edges, open_)
    waits = open_[edges.u] & open_[edges.v]
    assert not waits[:count].any() and waits[count:].all() and 0 < count < 200
    assert rows(edges) == before
