"""The exact method's promise: however a volume is cut, the segmentation is that of one block.

In memory, all combinations of volumes, settings, cuts and groups; the stages and stores have tests of
their own. Volumes are a few thousand voxels: sizes of blocks go down to one voxel, so that every
case there is at a border comes up often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.rounds_in_memory import segment_whole, segmentations
from tests.helpers.exact.volumes import KINDS, volume
from tests.helpers.exact.whole import Cuts, Grid, one_block, regular, same
from tests.helpers.examples import examples

#: Blocks per axis of the groups of each round.
ALL_AT_ONCE: list[Vec3] = [(1 << 20,) * 3]
BY_TWOS: list[Vec3] = [(1, 1, 1), (2, 2, 2), (4, 4, 4), (1 << 20,) * 3]


@dataclass(frozen=True)
class Case:
    """A volume, where it is cut, and how it is segmented."""

    kind: str
    seed: int
    cuts: Cuts
    settings: ExactSettings
    mask_seed: int | None
    is_grouped: bool

    @property
    def shape(self) -> Vec3:
        return Grid(self.cuts).volume

    @property
    def affinity(self) -> npt.NDArray[np.uint8]:
        return volume(self.kind, self.shape, self.seed)

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Holes of single voxels, and a wall or a corner that may empty whole blocks."""
        if self.mask_seed is None:
            return None
        random = np.random.default_rng(self.mask_seed)
        mask: npt.NDArray[np.bool_] = random.random(self.shape) < 0.95
        low = random.integers(0, self.shape)
        mask[low[0] :, low[1] :, low[2] :] = False
        return mask

    @property
    def spans(self) -> list[Vec3]:
        return BY_TWOS if self.is_grouped else ALL_AT_ONCE


@st.composite
def axes(draw: st.DrawFn, longest: int) -> list[int]:
    """Cuts of one axis: any, or every voxel."""
    length = draw(st.integers(1, longest))
    between = draw(st.sets(st.integers(1, length), max_size=4))
    return sorted({0, length, *between})


@st.composite
def cases(draw: st.DrawFn, longest: int) -> Case:
    t_low = draw(st.integers(1, 130))
    settings = ExactSettings(
        threshold=draw(st.integers(0, 1000)) / 1000,
        s2=draw(st.sampled_from((0, 5, 25, 200))),
        t_low=t_low,
        t_high=draw(st.sampled_from((t_low, 200, 240, 253, 256)).filter(lambda t: t >= t_low)),
        s_min=draw(st.sampled_from((0, 3, 12, 60))),
        t_size=draw(st.sampled_from((0, 1, 60, 140))),
    )
    cuts = [draw(axes(longest)) for _ in range(3)]
    mask_seed = draw(st.none() | st.integers(0, 99))
    kind, seed = draw(st.sampled_from(KINDS)), draw(st.integers(0, 99))
    return Case(kind, seed, cuts, settings, mask_seed, draw(st.booleans()))


@examples(40, 3000)
@given(cases(longest=18))
def test_any_grid_equals_one_block(case: Case) -> None:
    whole = segment_whole(case.affinity, one_block(case.shape), case.settings, mask=case.mask)
    found = segment_whole(case.affinity, case.cuts, case.settings, case.spans, case.mask)
    assert same(whole, found)


@examples(30, 1500)
@given(cases(longest=6))
def test_any_grid_is_what_the_oracle_says(case: Case) -> None:
    expected = oracle(case.affinity, case.settings, case.mask)
    found = segment_whole(case.affinity, case.cuts, case.settings, case.spans, case.mask)
    assert same(expected, found)


@pytest.mark.parametrize("seed", range(12))
def test_ties_of_scores_go_by_the_last_position(seed: int) -> None:
    """Four affinities, so many means tie, and nothing but mean linkage decides.

    One volume in three comes out otherwise if ties go another way.
    """
    shape = (8, 8, 8)
    affinity = volume("few", shape, seed)
    settings = ExactSettings(0.2 + 0.05 * seed, s2=0, t_high=256, s_min=0)
    expected = oracle(affinity, settings)
    assert same(expected, segment_whole(affinity, one_block(shape), settings))
    cuts = regular(shape, (3, 5, 2 + seed % 3))
    assert same(expected, segment_whole(affinity, cuts, settings, BY_TWOS))


SETTINGS = [
    pytest.param(ExactSettings(0.3, s2=100, s_min=10), id="all"),
    pytest.param(ExactSettings(0.5, s2=0, t_low=60, t_high=220, s_min=60, t_size=90), id="basins"),
    pytest.param(ExactSettings(0.45, s2=0, t_low=26, t_high=255, s_min=0), id="bare"),
    pytest.param(ExactSettings(0.55, s2=300, s_min=0, t_size=26), id="size-limited"),
]
SHAPE: Vec3 = (24, 25, 26)


SMALL: Vec3 = (15, 16, 17)
#: Small volumes: half of all pairs, so that each kind meets two settings, and each of these half the kinds.
PAIRS = [
    pytest.param(
        kind,
        *settings.values,
        shape,
        id=f"{kind}-{settings.id}-{shape}",
        marks=[pytest.mark.long] if shape == SHAPE or (i + j) % 2 else [],
    )
    for shape in (SMALL, SHAPE)
    for i, kind in enumerate(KINDS)
    for j, settings in enumerate(SETTINGS)
]


@pytest.mark.parametrize(("kind", "settings", "shape"), PAIRS)
def test_the_grids_that_people_use(kind: str, settings: ExactSettings, shape: Vec3) -> None:
    """Regular grids of blocks large enough to have an inside; rounds with groups of two."""
    affinity = volume(kind, shape, 0)
    whole = segment_whole(affinity, one_block(shape), settings)
    for blocks in ((2, 2, 2), (3, 3, 2), (5, 2, 3)):
        cuts = regular(shape, vec3(-(-n // b) for n, b in zip(shape, blocks, strict=True)))
        for found in segmentations(affinity, cuts, settings, [ALL_AT_ONCE, BY_TWOS]):
            assert same(whole, found), blocks
    z, y, x = shape
    for size in ((1, y, x), (z, 1, x), (z, y, 1), (7, 5, x), (z - 1, y - 1, x - 1)):
        cuts = regular(shape, size)
        assert same(whole, segment_whole(affinity, cuts, settings, BY_TWOS)), size


@pytest.mark.parametrize(
    "spans", [[(2, 2, 1), (4, 2, 3)], [(1, 4, 3), (8, 4, 3)], [(3, 3, 3), (3, 3, 3)]]
)
def test_groups_may_have_any_number_of_blocks(spans: list[Vec3]) -> None:
    affinity, settings = (
        volume("cells", (24, 12, 9), 1),
        ExactSettings(0.4, s2=20, s_min=6),
    )
    whole = segment_whole(affinity, one_block((24, 12, 9)), settings)
    assert same(whole, segment_whole(affinity, regular((24, 12, 9), (3, 3, 3)), settings, spans))


@pytest.mark.parametrize("spans", [ALL_AT_ONCE, BY_TWOS])
def test_empty_blocks_among_others(spans: list[Vec3]) -> None:
    """A third of the volume is nothing at all, in slabs as wide as blocks and beside them."""
    affinity, settings = volume("noise", SHAPE, 3), ExactSettings(0.5, s2=20, s_min=6)
    mask = np.ones(SHAPE, np.bool_)
    mask[8:16, :16] = False
    mask[:, :, :7] = False
    mask[16:, 8:, 14:] = False
    whole = segment_whole(affinity, one_block(SHAPE), settings, mask=mask)
    cuts = regular(SHAPE, (8, 8, 7))
    assert same(whole, segment_whole(affinity, cuts, settings, spans, mask))
