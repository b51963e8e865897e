"""Faces, rounds and cuts where chance hardly ever leads: small volumes, each drawn for one case."""

from __future__ import annotations

import numpy as np
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.fixed_point import least_score
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.rounds_in_memory import Run, run_rounds
from tests.helpers.exact.whole import Affinity, Cuts, same

ONE, TWO, ALL = (1, 1, 1), (1, 1, 2), (1, 1, 1 << 20)
#: Groups of the first round and of those that follow.
Groups = tuple[Vec3, tuple[Vec3, ...]]
GROUPS: list[Groups] = [(ONE, (ONE,)), (ONE, (TWO, ALL)), (TWO, (TWO, ALL)), (ALL, (ALL,))]
#: What scores are that are equal, and the threshold that is exactly that.
TIED, AT_TIED = 51, 0.2

in_any_groups = pytest.mark.parametrize("groups", GROUPS)


def drawn(*rows: str, **edges: int) -> Affinity:
    """Basins by letters, z downwards and x to the right; ``edges`` between two of them, else `TIED`."""
    letters = np.array([list(row) for row in rows])[:, None]
    affinity = np.zeros((3, *letters.shape), np.uint8)
    for axis in (0, 2):
        ahead = np.moveaxis(letters, axis, 0)
        for a, b, edge in zip(
            ahead[:-1], ahead[1:], np.moveaxis(affinity[axis], axis, 0)[1:], strict=True
        ):
            edge[...] = np.where(a == b, 250, TIED) * ((a != ".") & (b != "."))
            for letter_pair, value in edges.items():
                one, other = letter_pair[0], letter_pair[1]
                edge[((a == one) & (b == other)) | ((a == other) & (b == one))] = value
    return affinity


def run(affinity: Affinity, cuts: Cuts, settings: ExactSettings, groups: Groups) -> Run:
    return run_rounds(affinity.copy(), cuts, settings, *groups)


def by_mean(threshold: float) -> ExactSettings:
    """Nothing but mean linkage."""
    return ExactSettings(threshold=threshold, s2=0, s_min=0)


def clean_up(s_min: int) -> ExactSettings:
    """Nothing but clean-up: no mean is as high as the threshold."""
    return ExactSettings(threshold=1, s2=0, s_min=s_min)


@in_any_groups
def test_a_face_hands_on_what_a_small_basin_picks_behind_it(groups: Groups) -> None:
    """No voxel picks the edge over the face, so no basin is joined there; the small one picks it."""
    affinity, settings = drawn("AABBBB"), clean_up(s_min=3)
    found = run(affinity, [[0, 1], [0, 1], [0, 2, 6]], settings, groups).cut(least_score(1))
    assert np.unique(found).size == 1
    assert same(oracle(affinity, settings), found)


@in_any_groups
def test_the_first_round_keeps_what_a_basin_on_two_faces_picks(groups: Groups) -> None:
    """Neither face alone knows whether it is small, and which of its edges is the best."""
    affinity, settings = drawn("AAABBCCC", AB=120, BC=100), clean_up(s_min=3)
    found = run(affinity, [[0, 1], [0, 1], [0, 3, 5, 8]], settings, groups).cut(least_score(1))
    assert np.unique(found).size == 2
    assert same(oracle(affinity, settings), found)


@in_any_groups
def test_a_face_hands_on_what_a_small_basin_picks_inside_its_block(groups: Groups) -> None:
    """A touches no face; B does, and its best edge leads to A."""
    affinity, settings = drawn("AAABBCCC", AB=120, BC=100), clean_up(s_min=3)
    found = run(affinity, [[0, 1], [0, 1], [0, 5, 8]], settings, groups).cut(least_score(1))
    assert np.unique(found).size == 2
    assert same(oracle(affinity, settings), found)


@in_any_groups
def test_the_first_round_keeps_what_a_basin_on_two_faces_picks_inside_its_block(
    groups: Groups,
) -> None:
    """B lies in the corner of its block, A touches no face."""
    affinity = drawn(
        ".AAAB...",
        "....BCCC",
        "........",
        AB=120,
        BC=100,
    )
    settings = clean_up(s_min=3)
    found = run(affinity, [[0, 2, 3], [0, 1], [0, 5, 8]], settings, groups).cut(least_score(1))
    assert np.unique(found).size == 3
    assert same(oracle(affinity, settings), found)


@pytest.mark.parametrize("lowest", [0.1, AT_TIED])
@in_any_groups
def test_a_set_of_a_round_goes_on_at_the_score_of_its_lowest_merge(
    groups: Groups, lowest: float
) -> None:
    """B and C merge first, as their edge comes first; A joins them later, at the same score.

    The object is called by A, which isn't among what is known when B and C have merged.
    """
    affinity = drawn(
        "..A.BBC.",
        "..A.B.C.",
        "..AAB.C.",
    )
    found = run(affinity, [[0, 3], [0, 1], [0, 2, 4, 6, 8]], by_mean(lowest), groups)
    if groups[0] == TWO:
        merged_and_open = found.rounds[0][1].names.low == least_score(AT_TIED)
        assert merged_and_open.all()
    objects = found.cut(least_score(AT_TIED))
    assert np.unique(objects).size == 2
    assert same(oracle(affinity, by_mean(AT_TIED)), objects)


@pytest.mark.parametrize("lowest", [0.1, AT_TIED])
@in_any_groups
def test_a_region_of_a_block_goes_on_at_the_score_of_its_lowest_merge(
    groups: Groups, lowest: float
) -> None:
    """B and C touch no face, and merge in their block; A, their best partner then, reaches over one."""
    affinity = drawn(
        "A.BBC",
        "A.B.C",
        "AAB.C",
        "A....",
        "A....",
    )
    found = run(affinity, [[0, 4, 5], [0, 1], [0, 5]], by_mean(lowest), groups)
    merged_and_open = found.blocks[0].regions.low == least_score(AT_TIED)
    assert sorted(merged_and_open.tolist()) == [False, True]
    objects = found.cut(least_score(AT_TIED))
    assert np.unique(objects).size == 2
    assert same(oracle(affinity, by_mean(AT_TIED)), objects)
