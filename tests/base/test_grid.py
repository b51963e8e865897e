from __future__ import annotations

import pytest

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import Grid, items, ranges_len, share, to_ranges


def along_x(length: int, size: int, overlap: int, chunk: int = 1, begin: int = 0) -> Grid:
    """A grid of one block along z and y."""
    box = Box((0, 0, begin), (4, 4, begin + length))
    return Grid.of_blocks(box, (8, 8, size), (0, 0, overlap), (1, 1, chunk), box.begin)


def reads(grid: Grid) -> list[tuple[int, int]]:
    boxes = [grid.read(k) for k in range(len(grid))]
    return [(b.begin[2], b.end[2]) for b in boxes]


@pytest.mark.parametrize(
    ("length", "size", "overlap", "expected"),
    [
        (100, 100, 32, [(0, 100)]),  # fits: one block, whatever the overlap
        (5, 100, 32, [(0, 5)]),  # smaller than a block
        (101, 100, 32, [(0, 66), (34, 101)]),  # one voxel more: two halves, no sliver
        (200, 100, 32, [(0, 82), (50, 149), (117, 200)]),  # cuts at 66 and 133
        (70, 60, 11, [(0, 40), (29, 70)]),  # odd overlap: 6 low, 5 high
    ],
)
def test_blocks_of_an_axis_are_equal_and_meet_in_the_overlap(
    length: int, size: int, overlap: int, expected: list[tuple[int, int]]
) -> None:
    assert reads(along_x(length, size, overlap)) == expected


def test_a_grid_keeps_the_volume_s_offset_also_a_negative_one() -> None:
    assert reads(along_x(101, 100, 32, begin=-50)) == [(-50, 16), (-16, 51)]


def test_cuts_move_to_chunk_borders_where_the_read_boxes_stay_small_enough() -> None:
    # 200 / 3: cuts at 66 and 133 move to 64 and 128; the last read box is 112 - 200
    assert along_x(200, 110, 32, chunk=64).cuts[2] == (0, 64, 128, 200)
    # ... but not where a core would become wider than size - overlap
    assert along_x(200, 100, 32, chunk=64).cuts[2] == (0, 66, 133, 200)
    # chunk borders count from the volume's begin
    assert along_x(200, 110, 32, chunk=64, begin=7).cuts[2] == (7, 71, 135, 207)


def test_indices_are_in_raster_order_and_back() -> None:
    grid = Grid(((0, 2, 4), (0, 3, 6, 9), (0, 5, 10)))
    assert grid.shape == (2, 3, 2)
    assert [grid.index(grid.index3(k)) for k in range(12)] == list(range(12))
    assert grid.index3(1) == (0, 0, 1)
    assert grid.index3(2) == (0, 1, 0)
    assert grid.core(11) == Box((2, 6, 5), (4, 9, 10))


def test_a_block_in_the_middle_of_27_has_13_later_neighbours_and_26_in_all() -> None:
    grid = Grid.of_blocks(Box.of_shape((30, 30, 30)), (14, 14, 14), (4, 4, 4))
    assert grid.shape == (3, 3, 3)
    assert len(grid.neighbours(13)) == 26
    assert grid.later_neighbours(13) == list(range(14, 27))
    assert grid.later_neighbours(26) == []


def test_without_a_halo_nobody_is_a_neighbour() -> None:
    grid = Grid.of_cells(Box.of_shape((10, 10, 10)), (5, 5, 5))
    assert all(grid.neighbours(k) == [] for k in range(len(grid)))


def test_cells_begin_with_the_volume_and_end_clipped() -> None:
    grid = Grid.of_cells(Box((3, 0, -7), (13, 4, 9)), (4, 4, 8))
    assert grid.cuts == ((3, 7, 11, 13), (0, 4), (-7, 1, 9))
    assert grid.largest_read == (4, 4, 8)


def test_cores_meeting_a_box_are_just_those() -> None:
    grid = Grid(((0, 10, 20), (0, 10), (0, 10, 20, 30)), (2, 2, 2), (2, 2, 2))
    assert grid.cores_meeting(Box((0, 0, 10), (10, 10, 20))) == [1]
    assert grid.cores_meeting(Box((9, 0, 9), (11, 10, 21))) == [0, 1, 2, 3, 4, 5]


def test_ranges_hold_indices_in_little_room() -> None:
    assert to_ranges([0, 1, 2, 5, 7, 8]) == [(0, 3), (5, 6), (7, 9)]
    assert to_ranges([]) == []
    assert ranges_len([(0, 3), (5, 6)]) == 4
    ranges = [(0, 3), (5, 6), (7, 9)]
    assert list(items(ranges, 2, 5)) == [2, 5, 7]
    assert [i for k in range(4) for i in items(ranges, *share(6, k, 4))] == [0, 1, 2, 5, 7, 8]
