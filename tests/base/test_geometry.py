from __future__ import annotations

import numpy as np
import pytest

from magneton_tasks.base.geometry import Box, vec3


def test_vec3_makes_plain_integers_of_numpy_s() -> None:
    assert vec3(np.array([1, 2, 3])) == (1, 2, 3)
    assert all(type(v) is int for v in vec3(np.array([1, 2, 3])))
    with pytest.raises(ValueError, match="unpack"):
        vec3((1, 2))


def test_boxes_that_only_touch_share_nothing() -> None:
    a, b = Box((0, 0, 0), (4, 4, 4)), Box((4, 0, 0), (8, 4, 4))
    assert a.intersection(b).is_empty
    assert a.intersection(b).shape == (0, 4, 4)
    assert Box((5, 5, 5), (2, 6, 6)).shape == (0, 1, 1)  # never negative


def test_contains() -> None:
    a = Box((0, 0, 0), (4, 4, 4))
    assert a.contains(a)
    assert a.contains(Box((9, 9, 9), (9, 9, 9)))  # an empty box lies anywhere
    assert not a.contains(Box((0, 0, 0), (4, 4, 5)))


def test_grow_and_translate() -> None:
    box = Box((0, 10, 20), (5, 15, 25))
    assert box.grow((1, 2, 3), (0, 1, 2)) == Box((-1, 8, 17), (5, 16, 27))
    assert box.translate((-1, 0, 1)) == Box((-1, 10, 21), (4, 15, 26))


def test_a_coarse_box_begins_at_the_floor_also_below_zero() -> None:
    # extent 5 in pairs: 3; begin -3 // 2 = -2
    assert Box((-3, 1, 0), (2, 6, 5)).coarsened((2, 2, 1)) == Box((-2, 0, 0), (1, 3, 5))


def test_slices_select_the_box_of_an_array() -> None:
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    box = Box((11, 22, 33), (12, 24, 36))
    assert np.array_equal(array[box.slices((10, 20, 30))], array[1:2, 2:4, 3:6])


def test_tiles_cover_a_box_in_raster_order_and_are_clipped() -> None:
    tiles = list(Box((0, 0, 1), (3, 2, 4)).tiles((2, 2, 2)))
    assert [str(t) for t in tiles] == ["0:2,0:2,1:3", "0:2,0:2,3:4", "2:3,0:2,1:3", "2:3,0:2,3:4"]
    assert sum(t.voxels for t in tiles) == 18
