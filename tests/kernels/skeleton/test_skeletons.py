"""Skeletons of made-up objects, whole and over cells: what a user measures on them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, product

import networkx as nx
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.kernels.skeleton.cells import fragments, in_one_shared_plane
from magneton_tasks.kernels.skeleton.fragment import Fragment
from magneton_tasks.kernels.skeleton.join import Skeleton, joined
from magneton_tasks.kernels.skeleton.packing import packed, unpacked
from magneton_tasks.kernels.skeleton.rules import Rules
from magneton_tasks.kernels.skeleton.thin import passes_for, thinned

Numbers = NDArray[np.uint32]
Cuts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
WHOLE: Cuts = ((), (), ())
RULES = Rules((10.0, 10.0, 10.0), 1.5, 40.0, 0.0)
BEGIN = (5, 0, 1000)


def planes(numbers: Numbers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Along z, of each object."""
    count = int(numbers.max())
    found = [np.flatnonzero((numbers == n).any((1, 2))) for n in range(1, count + 1)]
    low = [z[0] if len(z) else 0 for z in found]
    return np.array(low, np.int64), np.array([z[-1] + 1 if len(z) else 1 for z in found], np.int64)


def pieces(
    numbers: Numbers, cuts: Cuts, rules: Rules = RULES, begin: Vec3 = BEGIN, at_once: int = 1 << 15
) -> dict[int, list[Fragment]]:
    """Of each object, its fragments of all cells."""
    volume = Box.of_shape(vec3(numbers.shape), begin)
    found: dict[int, list[Fragment]] = defaultdict(list)
    axes = [pairwise((0, *cut, n)) for cut, n in zip(cuts, numbers.shape, strict=True)]
    for edges in product(*axes):
        box = Box(vec3(low for low, _ in edges), vec3(high for _, high in edges))
        cell = numbers[box.grow((0, 0, 0), (1, 1, 1)).intersection(volume_at_zero(volume)).slices()]
        there = planes(cell)
        for number, fragment in fragments(
            cell, there, box.translate(begin), volume, rules, at_once
        ):
            found[number].append(fragment)
    return found


def volume_at_zero(volume: Box) -> Box:
    return Box.of_shape(volume.shape)


def skeletons(
    numbers: Numbers, cuts: Cuts, rules: Rules = RULES, begin: Vec3 = BEGIN
) -> dict[int, Skeleton]:
    of_each = pieces(np.ascontiguousarray(numbers), cuts, rules, begin)
    return {number: joined(some, rules) for number, some in of_each.items()}


def graph(skeleton: Skeleton) -> nx.Graph[int]:
    made: nx.Graph[int] = nx.Graph()
    made.add_nodes_from(range(len(skeleton.radii_nm)))
    made.add_edges_from(skeleton.edges.tolist())
    return made


def tips(skeleton: Skeleton) -> int:
    return int((np.bincount(skeleton.edges.ravel()) == 1).sum())


def check(numbers: Numbers, found: dict[int, Skeleton], rules: Rules = RULES) -> None:
    """Trees, as many as the object has components, on its voxels, each with the radius found there."""
    size = np.asarray(rules.voxel_size_nm)
    for number in np.unique(numbers[numbers > 0]).tolist():
        skeleton, mask = found[number], numbers == number
        forest = graph(skeleton)
        assert nx.is_forest(forest)
        assert nx.number_connected_components(forest) == label(mask, np.ones((3, 3, 3)))[1]
        voxels = skeleton.vertices_nm / size - 0.5 - np.asarray(BEGIN)
        assert np.allclose(voxels, voxels.round())
        assert mask[tuple(voxels.round().astype(int).T)].all()


def ball(size: int, radius: float) -> Numbers:
    z, y, x = np.indices((size, size, size)) - size / 2
    return np.asarray(z**2 + y**2 + x**2 < radius**2, np.uint32)


def ring() -> Numbers:
    """Through eight cells, around their corner: a real cycle."""
    z, y, x = np.indices((12, 60, 60)) - np.array([6, 30, 30])[:, None, None, None]
    return np.asarray(z**2 + (np.hypot(y, x) - 22) ** 2 < 4**2, np.uint32)


def test_a_ball_is_no_more_branched_where_cells_meet_in_it() -> None:
    numbers = ball(44, 20)
    one, eight = skeletons(numbers, WHOLE), skeletons(numbers, ((22,), (22,), (21,)))
    check(numbers, one)
    check(numbers, eight)
    assert tips(eight[1]) <= tips(one[1]) + 1
    assert eight[1].radii_nm.max() == pytest.approx(one[1].radii_nm.max(), rel=0.1)


def test_a_tube_over_cells_is_one_line_with_the_radius_of_the_tube() -> None:
    numbers = np.zeros((16, 17, 90), np.uint32)
    numbers[5:12, 4:13] = 1
    found = skeletons(numbers, ((), (), (30, 31, 64)))
    check(numbers, found)
    (tube,) = found.values()
    assert tips(tube) == 2 and tube.cable_nm == pytest.approx(890, rel=0.08)
    inner = tube.radii_nm[(tube.vertices_nm[:, 2] > 10_100) & (tube.vertices_nm[:, 2] < 10_800)]
    assert np.allclose(inner, 40)


def test_a_ring_stays_whole_but_for_one_gap() -> None:
    numbers = ring()
    round_about = 2 * np.pi * 220
    for cuts in (WHOLE, ((), (30,), (30,)), ((6,), (20, 40), (31,))):
        found = skeletons(numbers, cuts)
        check(numbers, found)
        assert found[1].cable_nm == pytest.approx(round_about, rel=0.2), cuts


@pytest.mark.parametrize("cuts", [WHOLE, ((4,), (5,), (6,)), ((3, 7), (4,), (3, 4, 9))])
def test_random_objects_have_as_many_trees_as_components(cuts: Cuts) -> None:
    """Touching by faces, edges and corners, over faces, edges and corners of cells."""
    random = np.random.default_rng(7)
    for share in (0.2, 0.5):
        numbers = random.integers(1, 4, (10, 11, 12)).astype(np.uint32)
        numbers[random.random(numbers.shape) > share] = 0
        check(numbers, skeletons(numbers, cuts))


def test_voxels_that_arent_cubes_are_measured_in_nm() -> None:
    rules = Rules((40.0, 8.0, 8.0), 1.5, 100.0, 0.0)
    numbers = np.zeros((13, 60, 60), np.uint32)
    numbers[1:12, 25:35, 25:35] = 1
    numbers[5:8, 28:32, 2:58] = 1
    for cuts in (WHOLE, ((6,), (30,), (29,))):
        (cross,) = skeletons(numbers, cuts, rules).values()
        true = distance_transform_edt(np.pad(numbers, 1), sampling=rules.voxel_size_nm)
        voxels = (cross.vertices_nm / rules.voxel_size_nm - 0.5).round().astype(int)
        at = tuple((voxels - np.asarray(BEGIN) + 1).T)
        assert np.median(np.abs(cross.radii_nm - true[at])) == 0
        assert nx.is_tree(graph(cross))
        assert np.ptp(cross.vertices_nm[:, 2]) > 400


def test_one_voxel_is_one_vertex_and_nothing_is_nothing() -> None:
    numbers = np.zeros((4, 4, 4), np.uint32)
    assert skeletons(numbers, ((2,), (), ())) == {}
    numbers[2, 1, 3] = 1
    (found,) = skeletons(numbers, ((2,), (), ()), begin=(0, 0, 0)).values()
    assert found.vertices_nm.tolist() == [[25, 15, 35]] and found.edges.shape == (0, 2)
    assert found.radii_nm.tolist() == [10]


def test_short_branches_go_and_long_ones_stay() -> None:
    numbers = np.zeros((9, 60, 90), np.uint32)
    numbers[3:6, 3:6] = 1
    numbers[3:6, 3:40, 44:47] = 1
    lengths = {
        tick: tips(skeletons(numbers, WHOLE, Rules((10, 10, 10), 1.5, 40, tick))[1])
        for tick in (0.0, 300.0, 500.0)
    }
    assert lengths == {0: 3, 300: 3, 500: 2}


def test_objects_worked_in_several_turns_are_the_same() -> None:
    random = np.random.default_rng(3)
    numbers = np.kron(random.permutation(64).reshape(4, 4, 4), np.ones((4, 4, 4))).astype(np.uint32)
    cuts = ((8,), (6,), ())
    once, turns = pieces(numbers, cuts), pieces(numbers, cuts, at_once=5)
    assert once.keys() == turns.keys()
    for number, some in once.items():
        assert [packed(f, BEGIN) for f in some] == [packed(f, BEGIN) for f in turns[number]]


def test_an_object_in_a_shared_plane_alone_is_left_to_the_neighbour() -> None:
    box, volume_low = Box((0, 0, 0), (8, 8, 8)), np.array([[8, 7, 0], [0, 8, 8], [3, 3, 3]])
    volume_high = np.array([[9, 9, 8], [2, 9, 9], [4, 4, 9]])
    assert in_one_shared_plane(volume_low, volume_high, box).tolist() == [True, True, True]
    inside = np.array([[7], [0], [3]]), np.array([[9], [2], [4]])
    assert in_one_shared_plane(*inside, box).tolist() == [False]


def test_a_large_object_is_thinned_but_keeps_tips_branches_and_what_neighbours_have() -> None:
    numbers = np.zeros((9, 60, 90), np.uint32)
    numbers[3:6, 3:6] = 1
    numbers[3:6, 3:40, 44:47] = 1
    cuts = ((), (), (30,))
    whole = pieces(numbers, cuts)[1]
    passes = passes_for(1000, 150)
    at = BEGIN[2] + 30
    few = [thinned(f, f.vertices[:, 2] == at, passes) for f in whole]
    assert sum(len(f.vertices) for f in few) < sum(len(f.vertices) for f in whole) / 4
    one, thin = joined(whole, RULES), joined(few, RULES)
    assert nx.is_tree(graph(thin)) and tips(thin) == tips(one) == 3
    assert thin.cable_nm == pytest.approx(one.cable_nm, rel=0.05)
    assert passes_for(10, 10) == 0


def test_fragments_are_read_as_they_were_written() -> None:
    (some,) = pieces(ring()[:, :30], WHOLE).values()
    again = unpacked(packed(some[0], BEGIN), BEGIN)
    assert (again.vertices == some[0].vertices).all() and (again.edges == some[0].edges).all()
    assert (again.radii == some[0].radii).all()
    with pytest.raises(ValueError, match="bytes for"):
        unpacked(packed(some[0], BEGIN)[:-1], BEGIN)


def test_no_radius_is_too_small_where_an_object_fills_a_cell() -> None:
    """A cell within a soma sees no boundary at all."""
    numbers = np.zeros((40, 38, 38), np.uint32)
    numbers[1:-1, 1:-1, 1:-1] = 1
    true = distance_transform_edt(numbers) * 10
    found = skeletons(numbers, ((12, 25), (12, 25), (12, 25)), Rules((10, 10, 10), 1.5, 300, 0))
    check(numbers, found)
    (solid,) = found.values()
    voxels = (solid.vertices_nm / 10 - 0.5).round().astype(int) - np.asarray(BEGIN)
    error = solid.radii_nm - true[tuple(voxels.T)]
    assert error.min() > -0.01 and np.median(error) < 30 and solid.radii_nm.max() < 250
