"""Plan and status judge records alike: what plan does again is what status doesn't show as done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from magneton_tasks.base.grid import items, ranges_len
from magneton_tasks.plan.stage_table import CHOICES
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.states import VolumeStates
from magneton_tasks.work.todo import Todo
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many
from tests.helpers.records_by_hand import N_BLOCKS, add, segmented, written

CELLS = 4
STAGES = ("segment", "count", "pool", "apply")


@pytest.fixture
def row(tmp_path: Path) -> Attempt:
    """A finished volume of eight blocks side by side."""
    run = plan_many(tmp_path, (1, 1, N_BLOCKS))
    volumes.release(run)
    written(run.attempt)
    return run.attempt


def to_do(attempt: Attempt, *, restart: bool = False) -> dict[str, list[int]]:
    """What a plan would do now, stage by stage."""
    plan = attempt.plan
    looked = Todo(attempt.config, plan.geometry, plan.fingerprints, CHOICES, restart, False)
    found = looked.all(lambda _: plan.input_digest)
    return {stage: list(items(found[stage], 0, ranges_len(found[stage]))) for stage in STAGES}


def not_done(attempt: Attempt) -> dict[str, list[int]]:
    """What status doesn't show as done."""
    states = VolumeStates(attempt, alive=False)
    return {
        stage: [each.key for each in states.judged(stage) if each.kind not in ("done", "empty")]
        for stage in STAGES
    }


def other_labels(row: Attempt) -> None:
    add(row, "segment", 5, "done", input=row.plan.input_digest, output="others", info={"n": 4})


def other_input(row: Attempt) -> None:
    add(row, "segment", 2, "done", input="another", output="labels2", info={"n": 3})


def lost_labels(row: Attempt) -> None:
    add(row, "segment", 5, "invalid", info={"cause": "damaged"})


def lost_count(row: Attempt) -> None:
    add(row, "count", 3, "invalid", info={"cause": "damaged"})


def lost_pool(row: Attempt) -> None:
    add(row, "pool", 0, "invalid", info={"cause": "damaged"})


def lost_cell(row: Attempt) -> None:
    add(row, "apply", 1, "invalid", info={"cause": "damaged"})


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda _: None, ([], [], [], [])),
        # a block counts with the next one
        (other_labels, ([], [4, 5], [0], list(range(CELLS)))),
        (other_input, ([2], [1, 2], [0], list(range(CELLS)))),
        (lost_labels, ([5], [4, 5], [0], list(range(CELLS)))),
        (lost_count, ([], [3], [0], list(range(CELLS)))),
        # the pool is made of the same counts: what was written with it stays
        (lost_pool, ([], [], [0], [])),
        (lost_cell, ([], [], [], [1])),
    ],
    ids=["nothing", "other labels", "other input", "lost labels", "lost count", "lost pool", "lost cell"],
)  # fmt: skip
def test_plan_does_again_what_status_doesnt_show_as_done(
    row: Attempt, harm: Callable[[Attempt], None], expected: tuple[list[int], ...]
) -> None:
    harm(row)
    assert to_do(row) == not_done(row) == dict(zip(STAGES, expected, strict=True))


def test_a_restart_takes_nothing_of_before(row: Attempt) -> None:
    everything = list(range(N_BLOCKS))
    assert to_do(row, restart=True) == {
        "segment": everything, "count": everything, "pool": [0], "apply": everything[:CELLS]
    }  # fmt: skip


def test_a_block_without_labels_is_done_again_only_where_they_are_read(row: Attempt) -> None:
    values = {"input": row.plan.input_digest, "output": "labels3", "info": {"cleaned": True}}
    add(row, "segment", 3, "done", **values)
    assert to_do(row)["segment"] == not_done(row)["segment"] == []
    add(row, "apply", 3, "invalid", info={"cause": "damaged"})
    assert to_do(row)["segment"] == []  # another block's cell
    lost_cell(row)
    assert to_do(row)["segment"] == [3]


def test_a_block_of_before_counts_for_what_follows(row: Attempt) -> None:
    """Segmented again with the same labels, by whatever run, nothing else is stale."""
    segmented(row, [6])
    assert to_do(row) == not_done(row) == {stage: [] for stage in STAGES}
