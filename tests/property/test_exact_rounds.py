"""Faces, rounds and cuts: any blocks, any groups and any lowest threshold give what one block gives.

In memory (`tests.helpers.exact.rounds_in_memory`); cuts are compared with the oracle on volumes of a
few hundred voxels, and with one block on larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.map_threshold import LEVELS
from magneton_tasks.kernels.exact.rounds.curve import LISTED
from magneton_tasks.kernels.exact.rounds.tables import names_of
from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.rounds_in_memory import Run, Span, curve_of, run_rounds
from tests.helpers.exact.volumes import KINDS, volume
from tests.helpers.exact.whole import Affinity, Cuts, Grid, masked, same
from tests.helpers.examples import examples

EVERYTHING: Vec3 = (1 << 20,) * 3


@dataclass(frozen=True)
class Groups:
    """How many blocks a group has, in the first round and in those that follow."""

    first: Span
    later: tuple[Span, ...]


@dataclass(frozen=True)
class Case:
    """A volume, where it is cut, how it is segmented, and the thresholds of its cuts."""

    kind: str
    seed: int
    cuts: Cuts
    settings: ExactSettings
    more: tuple[float, ...]
    groups: tuple[Groups, Groups]
    mask_seed: int | None

    def affinity(self) -> Affinity:
        shape = Grid(self.cuts).volume
        mask = None
        if self.mask_seed is not None:
            random = np.random.default_rng(self.mask_seed)
            mask = random.random(shape) < 0.95
            low = random.integers(0, shape)
            mask[low[0] :, low[1] :, low[2] :] = False
        return masked(volume(self.kind, shape, self.seed), mask)

    def run(self, groups: Groups, threshold: float) -> Run:
        settings = replace(self.settings, threshold=threshold)
        return run_rounds(self.affinity(), self.cuts, settings, groups.first, groups.later)

    def at(self, threshold: float) -> ExactSettings:
        return replace(self.settings, threshold=threshold)


@st.composite
def groupings(draw: st.DrawFn) -> Groups:
    """Small groups for ever, growing ones, all blocks at once, or other boxes in each round."""
    first = vec3(draw(st.integers(1, 3)) for _ in range(3))
    twice = vec3(2 * n for n in first)
    seed = draw(st.integers(0, 99))
    firsts: tuple[Span, ...] = (first, seed)
    laters: tuple[tuple[Span, ...], ...] = (
        (first,),
        (first, twice),
        (twice, EVERYTHING),
        (seed,),
        (seed, twice),
    )
    return Groups(draw(st.sampled_from(firsts)), draw(st.sampled_from(laters)))


@st.composite
def cases(draw: st.DrawFn, cuts: st.SearchStrategy[Cuts], s2: tuple[int, ...]) -> Case:
    t_low = draw(st.sampled_from((1, 30, 130)))
    lowest = draw(st.integers(0, 600)) / 1000
    settings = ExactSettings(
        threshold=lowest,
        s2=draw(st.sampled_from(s2)),
        t_low=t_low,
        t_high=draw(st.sampled_from((150, 200, 253, 255, 256))),
        s_min=draw(st.sampled_from((0, 3, 12, 60))),
        t_size=draw(st.sampled_from((0, 1, 60, 140))),
    )
    more = draw(st.lists(st.integers(round(lowest * 1000), 1000), max_size=2))
    return Case(
        draw(st.sampled_from(KINDS)),
        draw(st.integers(0, 99)),
        draw(cuts),
        settings,
        tuple(t / 1000 for t in more),
        (draw(groupings()), draw(groupings())),
        draw(st.none() | st.integers(0, 99)),
    )


@st.composite
def many_blocks(draw: st.DrawFn, longest: int) -> Cuts:
    """Cuts anywhere, also around every voxel."""
    cuts = []
    for _ in range(3):
        length = draw(st.integers(1, longest))
        cuts.append(sorted({0, length, *draw(st.sets(st.integers(1, length), max_size=4))}))
    return cuts


@st.composite
def few_blocks(draw: st.DrawFn) -> Cuts:
    """Blocks large enough that regions merge by mean inside, and go on outside."""
    cuts = []
    for _ in range(3):
        length = draw(st.integers(20, 32))
        cuts.append(sorted({0, length, *draw(st.sets(st.integers(3, length - 3), max_size=1))}))
    return cuts


def one_block(case: Case, threshold: float) -> npt.NDArray[np.uint32]:
    labels, _ = next(exact_segmentations(case.affinity(), case.at(threshold), [threshold]))
    return labels


def supervoxel_names(run: Run) -> npt.NDArray[np.int64]:
    """Each voxel's supervoxel; 0: background."""
    out = np.zeros(run.layout.grid.volume, np.int64)
    for number, block in enumerate(run.blocks):
        core = run.layout.grid.core(vec3(run.layout.positions[number]))
        out[core.slices()] = np.where(block.labels > 0, names_of(number, block.labels), 0)
    return out


@examples(50, 1500)
@given(cases(many_blocks(longest=6), s2=(0, 5, 25)))
def test_cuts_are_what_the_oracle_says(case: Case) -> None:
    run = case.run(case.groups[0], case.settings.threshold)
    for threshold in (case.settings.threshold, *case.more):
        expected = oracle(case.affinity(), case.at(threshold))
        assert same(expected, run.cut(least_score(threshold)))


@examples(20, 2000)
@given(cases(many_blocks(longest=20), s2=(0, 5, 25, 200)))
def test_cuts_through_many_small_blocks_equal_one_block(case: Case) -> None:
    check_cuts(case)


@examples(25, 1000)
@given(cases(few_blocks(), s2=(0, 5, 25)))
def test_cuts_through_a_few_large_blocks_equal_one_block(case: Case) -> None:
    check_cuts(case)


def check_cuts(case: Case) -> None:
    """Any threshold, and any groups: the voxels, and the ids to the bit."""
    runs = [
        case.run(case.groups[0], case.settings.threshold),
        case.run(case.groups[1], max((case.settings.threshold, *case.more[:1]))),
    ]
    supervoxels = supervoxel_names(runs[0])
    for threshold in (case.settings.threshold, *case.more):
        found = runs[0].cut(least_score(threshold), (2, 1, 1))
        assert same(one_block(case, threshold), found)
        assert_named_by_their_smallest(found, supervoxels)
        if threshold >= max((case.settings.threshold, *case.more[:1])):
            np.testing.assert_array_equal(runs[1].cut(least_score(threshold)), found)


def assert_named_by_their_smallest(
    objects: npt.NDArray[np.int64], supervoxels: npt.NDArray[np.int64]
) -> None:
    ids, where = np.unique(objects, return_inverse=True)
    least = np.full(ids.size, np.iinfo(np.int64).max)
    np.minimum.at(least, where.reshape(-1), supervoxels.reshape(-1))
    np.testing.assert_array_equal(least, ids)


@examples(25, 1000)
@given(cases(few_blocks(), s2=(0, 5, 25)))
def test_the_sums_of_all_tasks_say_what_the_labels_of_each_threshold_say(case: Case) -> None:
    lowest = case.settings.threshold
    run = case.run(case.groups[0], lowest)
    curve = curve_of(run)
    for level in [i for i, t in enumerate(LEVELS) if t >= lowest][::40]:
        found, sizes = run.cut_and_sizes(least_score(LEVELS[level]))
        ids, which, voxels = np.unique(found[found > 0], return_inverse=True, return_counts=True)
        np.testing.assert_array_equal(sizes[found > 0], voxels[which.reshape(-1)])
        assert curve.objects()[level] == ids.size
        classes = np.bincount(np.log2(voxels).astype(int), minlength=curve.classes.shape[1])
        np.testing.assert_array_equal(curve.size_classes()[level], classes)
        order = np.lexsort((ids, -voxels))[:LISTED]
        listed = curve.largest.voxels[level][: order.size], curve.largest.ids[level][: order.size]
        np.testing.assert_array_equal(listed[0], voxels[order])
        np.testing.assert_array_equal(listed[1], ids[order])


@examples(25, 1000)
@given(cases(many_blocks(longest=20), s2=(0, 5, 25, 200)))
def test_the_sums_of_the_rule_are_those_of_one_block(case: Case) -> None:
    """To the bit, so the threshold from the map is the same on any grid."""
    settings = case.at(LEVELS[0])
    run = case.run(case.groups[0], LEVELS[0])
    found, expected = curve_of(run).rule, threshold_sums(case.affinity(), settings)
    for name in (f.name for f in fields(expected)):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
