"""The rule's sums over parts of a volume: nothing is lost or counted twice."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.part_thresholds import differ, of_parts
from magneton_tasks.kernels.exact.rounds import places as places_module
from magneton_tasks.kernels.exact.rounds.places import Places
from tests.helpers import volumes
from tests.helpers.exact.rounds_in_memory import Run, curve_of, parts_of_map, run_rounds

SETTINGS = ExactSettings(0.1, s2=20, s_min=4)
SHAPE = (12, 20, 24)
GRID = Grid.of_blocks(Box.of_shape(SHAPE), (6, 10, 6), (0, 0, 0))
EVERY = (1 << 20,) * 3


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """By groups of one, of two and of all blocks."""
    affinity = volumes.affinities(volumes.cells(SHAPE, 30, 1), 0.4, 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(places_module, "LEAST_EDGE_VOX", 8)
        places = Places.of(GRID)
    assert places.along == (1, 2, 3)
    spans = [((1, 1, 1), ((2, 2, 2), EVERY)), ((1, 2, 2), (EVERY,)), (EVERY, (EVERY,))]
    return [run_rounds(affinity, GRID.cuts, SETTINGS, *span, places) for span in spans]


def test_parts_add_up_to_the_whole(runs: list[Run]) -> None:
    for run in runs:
        parts, whole = parts_of_map(run), curve_of(run).rule
        assert reduce(add, parts).to_data() == whole.to_data()
        assert all(part.voxels for part in parts)


def test_parts_lie_where_the_volume_alone_says() -> None:
    box = Box.of_shape((300, 1000, 200), (7, -16, 300))
    for size in ((64, 64, 64), (50, 100, 40)):
        grid = Grid.of_blocks(box, size, (0, 0, 0))
        places = Places.of(grid)
        assert places.along == (2, 3, 1)
        numbers = places.of_blocks(np.arange(len(grid)))
        for part in range(places.count):
            own = places.box_of(part, grid)
            assert own is not None
            blocks = [grid.core(int(k)) for k in np.flatnonzero(numbers == part)]
            assert sum(core.voxels for core in blocks) == own.voxels
            assert all(own.contains(core) for core in blocks)
            for axis, n in enumerate(places.along):
                along = np.unravel_index(part, places.along)[axis]
                exact = box.begin[axis] + box.shape[axis] * int(along) / n
                assert abs(own.begin[axis] - exact) <= size[axis] / 2


def test_a_small_volume_has_no_parts_and_a_large_block_fills_one() -> None:
    assert Places.of(Grid.of_blocks(Box.of_shape((255, 255, 255)), (64,) * 3, (0, 0, 0))).count == 1
    grid = Grid.of_blocks(Box.of_shape((512, 512, 512)), (512,) * 3, (0, 0, 0))
    places = Places.of(grid)
    boxes = [places.box_of(part, grid) for part in range(places.count)]
    assert [box for box in boxes if box is not None] == [grid.box]


def test_what_differs_depends_on_where_on_the_scale_it_lies() -> None:
    assert not differ([]) and not differ([0.3, 0.3])
    assert not differ([0.28, 0.475, 0.3])
    assert differ([0.05, 0.3]) and differ([0.3, 0.7])


def test_a_part_that_holds_little_is_not_compared(runs: list[Run]) -> None:
    assert of_parts(parts_of_map(runs[0])) == []
