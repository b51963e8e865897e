"""Blocks that faces hold: each is read once as long as there is room, and few are held."""

from __future__ import annotations

import pytest

from magneton_tasks.base.grid import Grid, z_ordered
from magneton_tasks.stages.held_blocks import HeldBlocks

EDGE = 8


def worked(edge: int, most: int) -> tuple[int, int, int]:
    """How often blocks are read for all faces of edge^3 blocks, the most that are held, and those at the end."""
    cuts = tuple(range(edge + 1))
    grid = Grid((cuts, cuts, cuts))
    keys = z_ordered([(0, len(grid))], grid.shape)
    reads = list[int]()

    def read(block: int) -> int:
        reads.append(block)
        return -block

    held, largest = HeldBlocks(grid, keys, most, read), 0
    for key in keys:
        for _, other in grid.later_face_neighbours(key):
            assert (held.of(key), held.of(other)) == (-key, -other)
            largest = max(largest, len(held))
            held.worked(other, key)
        held.worked(key, key)
    return len(reads), largest, len(held)


def test_with_room_each_block_is_read_once() -> None:
    reads, largest, left = worked(EDGE, EDGE**3)
    assert reads == EDGE**3
    assert largest < EDGE**3 / 4  # none longer than for its last face
    assert left == 0


@pytest.mark.parametrize("most", [1, 8, 32])
def test_with_less_room_some_are_read_again(most: int) -> None:
    reads, largest, left = worked(EDGE, most)
    assert largest <= most + 2
    assert left == 0
    # those needed last are let go of: with those used longest ago, 8 take 2.1 and 32 take 1.3
    assert reads <= {1: 4, 8: 1.75, 32: 1.2}[most] * EDGE**3


def test_what_is_held_does_not_grow_with_the_volume() -> None:
    assert worked(2 * EDGE, 32)[1] <= 34
