"""Which joins plan chooses, what it projects for them, and when it refuses; pure."""

from __future__ import annotations

import re

import pytest

from magneton_tasks.base import units
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.cost_exact import TYPICAL_FACES
from magneton_tasks.plan.exact_tree import choose_tree, join_cost
from magneton_tasks.plan.join_tree import JoinTree

GIB = 2**30


def grid(blocks: Vec3, edge: int) -> Grid:
    return Grid.of_blocks(
        Box.of_shape(vec3(n * edge for n in blocks)), (edge, edge, edge), (0, 0, 0)
    )


def largest(blocks: Grid, tree: JoinTree) -> int:
    """Bound of the largest of all joins, in bytes."""
    costs = [
        join_cost(blocks, tree, level, TYPICAL_FACES, TYPICAL_FACES)
        for level in range(1, tree.levels + 1)
    ]
    return max(cost.memory.bound for cost in costs)


def test_all_blocks_at_once_where_that_fits() -> None:
    blocks = grid((4, 4, 4), 128)
    flat = choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, 64 * GIB)
    assert flat.fan_in == ((4, 4, 4),)
    less = choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, int(largest(blocks, flat) * 0.99))
    assert less.levels > 1


@pytest.mark.parametrize("share", [1.0, 0.9, 0.8, 0.7, 0.6])
def test_groups_are_as_small_as_memory_asks_for(share: float) -> None:
    """2 x 2 x 2 groups at the top aren't the end: two groups at a time take a third of the memory."""
    blocks = grid((16, 16, 16), 256)
    cubes = JoinTree(blocks.shape, ((2, 2, 2),) * 4)
    limit = int(largest(blocks, cubes) * share)
    tree = choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, limit)
    assert largest(blocks, tree) <= limit
    assert tree.levels <= 6
    assert (tree.fan_in[-1] == (2, 2, 2)) is (share == 1.0)


def test_a_top_join_that_fits_nowhere_is_refused_with_the_memory_that_it_takes() -> None:
    blocks = grid((16, 16, 16), 512)
    with pytest.raises(ConfigError) as refusal:
        choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, 8 * GIB)
    found = re.search(r"joining 4,096 blocks may need ([\d.]+ \wiB) per worker", str(refusal.value))
    assert found
    need = units.parse_size(found[1].replace(" ", ""))
    assert need > 8 * GIB
    # as it says, give or take how the figure is rounded
    choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, int(need * 1.005))
    with pytest.raises(ConfigError):
        choose_tree(blocks, TYPICAL_FACES, TYPICAL_FACES, int(need * 0.95))


def test_a_volume_of_one_block_has_next_to_nothing_to_join() -> None:
    one = grid((1, 1, 1), 512)
    tree = choose_tree(one, TYPICAL_FACES, TYPICAL_FACES, GIB)
    assert tree.fan_in == ((1, 1, 1),)
    assert largest(one, tree) < GIB // 2


def test_large_groups_leave_open_what_crosses_them_not_only_what_touches_their_faces() -> None:
    """Eight times the voxels have four times the faces; the edges open grow faster than these."""

    def top(blocks: Vec3) -> float:
        tree = JoinTree.flat((2, 2, 2))
        cuts = grid((2, 2, 2), 512 * blocks[0])
        return join_cost(cuts, tree, 1, TYPICAL_FACES, TYPICAL_FACES).edges

    assert top((2, 2, 2)) > 4.2 * top((1, 1, 1))
    assert top((16, 16, 16)) > 5 * top((8, 8, 8))
