"""Groups of the exact method's rounds: every block in one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.rounds import (
    Groups,
    blocks_within,
    faces_of,
)
from tests.helpers.examples import examples

shapes = st.tuples(*(st.integers(1, 7) for _ in range(3)))


@examples(40, 1000)
@given(shapes, st.tuples(*(st.integers(1, 4) for _ in range(3))))
def test_each_block_is_in_one_group(shape: Vec3, span: Vec3) -> None:
    groups = Groups.of_span(shape, span)
    found = [block for group in range(len(groups)) for block in groups.blocks_of(group)]
    assert sorted(found) == list(range(shape[0] * shape[1] * shape[2]))
    assert all(groups.group_of(b) == g for g in range(len(groups)) for b in groups.blocks_of(g))


def test_faces_lie_between_two_blocks_each() -> None:
    shape = (2, 2, 2)
    assert faces_of(shape, [0]) == [(0, 0), (0, 1), (0, 2)]
    assert faces_of(shape, [7]) == [(3, 0), (5, 1), (6, 2)]
    assert len(faces_of(shape, range(8))) == 12
    assert faces_of((1, 1, 1), [0]) == []


def test_blocks_near_a_group_are_those_within_reach() -> None:
    grid = Grid(((0, 10, 14, 24, 34), (0, 8), (0, 8)))
    groups = Groups.of_span(grid.shape, (1, 1, 1))
    assert blocks_within(grid, groups, 0, 1) == [0, 1]
    assert blocks_within(grid, groups, 0, 4) == [0, 1]
    assert blocks_within(grid, groups, 0, 5) == [0, 1, 2]
    assert blocks_within(grid, groups, 3, 11) == [1, 2, 3]
