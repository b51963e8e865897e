"""Groups of the exact method's rounds: every block in one, and as large as rows allow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.rounds import (
    Groups,
    blocks_within,
    faces_of,
    grown_span,
)
from tests.helpers.examples import examples

shapes = st.tuples(*(st.integers(1, 7) for _ in range(3)))


@examples(40, 1000)
@given(shapes, st.tuples(*(st.integers(1, 4) for _ in range(3))))
def test_each_block_is_in_one_group(shape: Vec3, span: Vec3) -> None:
    groups = Groups(shape, span)
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
    groups = Groups(grid.shape, (1, 1, 1))
    assert blocks_within(grid, groups, 0, 1) == [0, 1]
    assert blocks_within(grid, groups, 0, 4) == [0, 1]
    assert blocks_within(grid, groups, 0, 5) == [0, 1, 2]
    assert blocks_within(grid, groups, 3, 11) == [1, 2, 3]


@examples(60, 2000)
@given(shapes, st.data())
def test_groups_grow_as_far_as_the_budget_reaches(shape: Vec3, data: st.DataObject) -> None:
    rows = {b: data.draw(st.integers(0, 50)) for b in range(shape[0] * shape[1] * shape[2])}
    budget = data.draw(st.integers(0, 600))

    def most_rows(groups: Groups) -> int:
        return max(sum(rows[b] for b in groups.blocks_of(g)) for g in range(len(groups)))

    span = grown_span(shape, (2, 2, 2), most_rows, budget)
    assert span == (2, 2, 2) or most_rows(Groups(shape, span)) <= budget
    smallest = (
        min(s for s, n in zip(span, shape, strict=True) if s < n)
        if any(s < n for s, n in zip(span, shape, strict=True))
        else None
    )
    if smallest is not None:
        axis = next(a for a in range(3) if span[a] < shape[a] and span[a] == smallest)
        larger = vec3(s * 2 if a == axis else s for a, s in enumerate(span))
        assert most_rows(Groups(shape, larger)) > budget


def test_all_blocks_make_one_group_if_the_budget_allows() -> None:
    span = grown_span((5, 3, 9), (2, 2, 2), lambda _: 10, 10)
    assert len(Groups((5, 3, 9), span)) == 1
