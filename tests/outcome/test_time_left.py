"""How long a run still takes: Airflow's own steps count, and what this run measured counts more."""

from __future__ import annotations

import pytest

from magneton_tasks.outcome import time_left
from magneton_tasks.outcome.time_left import Part

#: The exact method on a small volume, in seconds of CPU time.
STAGES = (
    ("segment", 1, 8.0), ("faces", 1, 0.5), ("round0", 2, 1.5), ("pool", 1, 0.0), ("cut", 2, 0.5),
    ("apply", 1, 2.0), ("verify", 1, 0.4),
)  # fmt: skip
PLANNED = 1000.0


def parts(begun: int = 0, step_s: float = 0.0) -> list[Part]:
    """Of which the first ``begun`` are over, with ``step_s`` before each step, as fast as planned."""
    made, now = [], PLANNED
    for k, (name, steps, cpu_s) in enumerate(STAGES):
        if k < begun:
            began = now + steps * step_s
            now = began + cpu_s / 2
            made.append(Part(name, steps, cpu_s, began=began, ended=now, is_over=True))
        else:
            made.append(Part(name, steps, cpu_s))
    return made


def total(found: list[Part], now: float, *, in_airflow: bool = True) -> float:
    return sum(time_left.left(found, PLANNED, now, 2, in_airflow=in_airflow).values())


def test_each_step_of_airflow_costs_its_time() -> None:
    """Before anything is measured: nine steps, and the stages' own seven seconds."""
    assert total(parts(), PLANNED) == pytest.approx(9 * time_left.AIRFLOW_STEP_S + 12.9 / 2)
    assert total(parts(), PLANNED, in_airflow=False) < total(parts(), PLANNED)


def test_what_this_run_measured_counts() -> None:
    """A machine whose steps take 30 s: five minutes, where plan alone said seven seconds."""
    found = parts(begun=3, step_s=30.0)
    now = found[2].ended
    assert now is not None
    rest = 5 * 30 + 2.9 / 2
    assert 0.8 * rest < total(found, now) < 1.05 * rest
    # as time goes by it shrinks, and a step that is overdue doesn't make it nothing
    assert total(found, now + 10) == pytest.approx(total(found, now) - 10)
    assert total(found, now + 500) > 4 * 20


def test_slow_stages_make_those_to_come_slow() -> None:
    usual = [
        Part("segment", 1, 200.0, began=1001, ended=1101, is_over=True),
        Part("apply", 1, 100.0),
    ]
    slow = [
        Part("segment", 1, 200.0, began=1001, ended=1301, is_over=True),
        Part("apply", 1, 100.0),
    ]
    first, second = total(usual, 1101), total(slow, 1301)
    assert 50 < first < 60
    assert 130 < second < 160


def test_a_stage_that_works_goes_on_at_its_pace() -> None:
    found = [Part("segment", 1, 8.0, began=1001, ended=1011, pace_s=77.0), Part("apply", 1)]
    told = time_left.left(found, PLANNED, 1012, 2, in_airflow=False)
    assert told["segment"] == 77.0
    assert 0 < told["apply"] < 5


def test_what_was_left_out_takes_nothing() -> None:
    found = [
        Part("segment", 1, 8.0, is_over=True), Part("count", 1, 8.0),
        Part("apply", 1, 2.0, began=1001, ended=1002, is_over=True),
    ]  # fmt: skip
    assert total(found, 1003) == 0
