"""Supervoxels from distance-transform seeds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from magneton_tasks.kernels.overlap.supervoxels import Float32, seeded_fragments


def fragments_of(affinity: Float32, **changed: object) -> np.ndarray:
    settings = {"per_section": False, "low": 0.0, "interior_threshold": 0.5, "min_distance": 2}
    return seeded_fragments(affinity, **(settings | changed))  # type: ignore[arg-type]


def boxes(shape: tuple[int, int, int], walls_x: list[int]) -> Float32:
    """Inside 0.9; planes at ``walls_x`` are membrane voxels of 0.1 in all channels."""
    affinity = np.full((3, *shape), 0.9, np.float32)
    affinity[:, :, :, walls_x] = 0.1
    return affinity


@pytest.mark.parametrize("per_section", [False, True])
def test_rooms_between_membranes_get_a_fragment_each(per_section: bool) -> None:
    found = fragments_of(boxes((5, 9, 23), [7, 15]), per_section=per_section)
    assert found.dtype == np.uint64
    sections = 5 if per_section else 1
    assert found.max() == 3 * sections
    for section in found:
        rooms = [np.unique(section[:, b:e]) for b, e in ((0, 7), (8, 15), (16, 23))]
        assert [len(r) for r in rooms] == [1, 1, 1]
        assert len(set(np.concatenate(rooms).tolist())) == 3
    assert (found > 0).all()  # membranes are flooded too


def test_2d_fragments_stay_in_their_section_and_3d_ones_span() -> None:
    affinity = boxes((4, 9, 15), [7])
    flat = fragments_of(affinity, per_section=True)
    assert all(not set(a.flat) & set(b.flat) for a, b in pairwise(flat))
    deep = fragments_of(affinity)
    assert (deep == deep[0]).all()


@pytest.mark.parametrize("per_section", [False, True])
def test_ids_are_dense_and_each_fragment_is_one_piece(per_section: bool) -> None:
    rng = np.random.RandomState(0)
    smooth = ndimage.gaussian_filter(rng.rand(3, 24, 30, 36), (0, 1.5, 1.5, 1.5))
    affinity = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    found = fragments_of(affinity, per_section=per_section)
    ids = np.unique(found)
    assert ids.size > 20
    assert ids.tolist() == list(range(int(found.max()) + 1))[int(ids[0]) :]
    for i in ids[ids > 0]:
        assert ndimage.label(found == i)[1] == 1


@pytest.mark.parametrize(
    ("min_distance", "count"),
    [(3, 2), (5, 2), (10, 1)],  # the middles of the two balls are 10 voxels apart
)
def test_seeds_within_min_distance_of_a_higher_one_are_dropped(
    min_distance: int, count: int
) -> None:
    """A room of two overlapping balls, of radius 6.5 and 5.5."""
    z, y, x = np.ogrid[:15, :15, :31]
    affinity = np.full((3, 15, 15, 31), 0.1, np.float32)
    for middle, radius in ((10, 6.5), (20, 5.5)):
        affinity[:, (z - 7) ** 2 + (y - 7) ** 2 + (x - middle) ** 2 <= radius**2] = 0.9
    assert fragments_of(affinity, min_distance=min_distance).max() == count


@pytest.mark.parametrize("per_section", [False, True])
def test_voxels_without_an_affinity_above_low_are_background(per_section: bool) -> None:
    affinity = boxes((4, 9, 20), [7])
    affinity[:, :, :, 14:] = 0.05
    found = fragments_of(affinity, per_section=per_section, low=0.05)
    assert (found[..., :14] > 0).all()
    assert (found[..., 14:] == 0).all()


def test_floods_do_not_cross_background() -> None:
    """The right part has no seed of its own, and the gap keeps the left one's flood away."""
    affinity = np.full((3, 3, 9, 20), 0.9, np.float32)
    affinity[..., 8:11] = 0.0
    affinity[..., 11:] = 0.3  # foreground, but not inside
    found = fragments_of(affinity)
    assert found[..., :8].all()
    assert not found[..., 11:].any()


def test_flood_follows_the_boundary_map() -> None:
    """Two seeds; the ridge between them is off the middle, and that is where they meet."""
    affinity = np.full((3, 1, 1, 30), 0.6, np.float32)
    affinity[..., [0, 29]] = 0.1
    affinity[..., 20] = 0.2
    found = fragments_of(affinity, interior_threshold=0.3)[0, 0]
    assert len(np.unique(found[1:20])) == 1
    assert len(np.unique(found[21:29])) == 1
    assert found[10] != found[25]


def test_flood_goes_down_again_behind_a_ridge() -> None:
    """One seed for two rooms (the other is within min_distance): it fills both."""
    affinity = np.full((3, 1, 1, 30), 0.6, np.float32)
    affinity[..., [0, 29]] = 0.1
    affinity[..., 20] = 0.2
    found = fragments_of(affinity, interior_threshold=0.3, min_distance=30)
    assert (found == 1).all()


def test_2d_floods_stay_in_their_section() -> None:
    """The middle section is foreground without any inside, so it has no seed."""
    affinity = np.full((3, 3, 5, 6), 0.9, np.float32)
    affinity[:, 1] = 0.4
    found = fragments_of(affinity, per_section=True)
    assert found[0].all()
    assert not found[1].any()
    assert found[2].all()
    assert fragments_of(affinity)[1].all()


@pytest.mark.parametrize("per_section", [False, True])
def test_a_volume_without_any_outside_is_one_seed(per_section: bool) -> None:
    found = fragments_of(np.full((3, 3, 4, 5), 0.9, np.float32), per_section=per_section)
    assert found.max() == (3 if per_section else 1)
    assert found.all()


@pytest.mark.parametrize("per_section", [False, True])
def test_a_volume_without_any_inside_has_no_fragment(per_section: bool) -> None:
    found = fragments_of(np.full((3, 3, 4, 5), 0.4, np.float32), per_section=per_section)
    assert not found.any()
