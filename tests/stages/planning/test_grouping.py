"""Groups of a round: as few as the rows that a task may hold allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.stages.planning.group_rows import sent_rows
from magneton_tasks.stages.planning.grouping import fewest_groups
from tests.helpers.examples import examples

shapes = st.tuples(*(st.integers(1, 6) for _ in range(3)))


@examples(40, 1000)
@given(shapes, st.tuples(*(st.integers(1, 3) for _ in range(3))), st.data())
def test_no_group_has_more_rows_than_a_task_may_hold(
    blocks: Vec3, span: Vec3, data: st.DataObject
) -> None:
    base = Groups.of_span(blocks, span)
    sent = {group: data.draw(st.integers(0, 50)) for group in range(len(base))}
    budget = data.draw(st.integers(0, 600))
    rows_of = sent_rows(base, sent)
    found = fewest_groups(base, rows_of, budget)
    assert found.blocks == blocks
    assert all(set(c) <= set(b) for c, b in zip(found.cuts, base.cuts, strict=True))
    assert rows_of(found).sum() == sum(sent.values())
    assert rows_of(found).max() <= max(budget, *sent.values(), 0)
    assert (len(found) == 1) == (sum(sent.values()) <= budget or len(base) == 1)


@pytest.mark.parametrize(
    ("shape", "budget", "groups"),
    [
        ((8, 8, 8), 512, (1, 1, 1)),
        ((8, 8, 8), 511, (1, 1, 2)),
        ((8, 8, 8), 192, (1, 2, 2)),  # not three, which would be long
        ((8, 8, 8), 64, (2, 2, 2)),
        ((2, 2, 16), 16, (1, 1, 4)),
        ((1, 1, 7), 1, (1, 1, 7)),
    ],
)
def test_blocks_that_are_alike_make_few_short_groups(
    shape: Vec3, budget: int, groups: Vec3
) -> None:
    base = Groups.of_span(shape, (1, 1, 1))
    found = fewest_groups(base, sent_rows(base, dict.fromkeys(range(len(base)), 1)), budget)
    assert sorted(found.shape) == sorted(groups)


def test_where_rows_are_dense_groups_are_small() -> None:
    base = Groups.of_span((1, 1, 16), (1, 1, 1))
    sent = {group: 100 if group < 4 else 10 for group in range(16)}
    found = fewest_groups(base, sent_rows(base, sent), 200)
    assert found.cuts[2] == (0, 1, 3, 4, 16)


def test_a_group_that_has_more_than_a_task_may_hold_stays_alone() -> None:
    base = Groups.of_span((4, 4, 4), (1, 1, 1))
    sent = dict.fromkeys(range(64), 1) | {21: 1000}
    found = fewest_groups(base, sent_rows(base, sent), 20)
    assert np.max(sent_rows(base, sent)(found)) == 1000
