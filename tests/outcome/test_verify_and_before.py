"""Rows of verify on the page, and what is told of the run before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.outcome import before, verify_rows
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many


def rows(attempt: Attempt) -> dict[str, dict[str, Any]]:
    """Of verify, by name, as the page has them."""
    block_map = BlockMap(Attempt.open(attempt.paths.root))
    block_map.refresh()
    return {r["stage"]: r for r in block_map.told()["stages"] if r["stage"].startswith("verify")}


def counts(row: dict[str, Any]) -> str:
    """The only count of a row that isn't 0, for short."""
    names = ("done", "failed", "running", "queued", "missing")
    return " ".join(name for name in names if row[name])


def ended(attempt: Attempt, **result: Any) -> None:
    told = {"stage": "verify", "seconds": 2.5, "objects": 3, **result}
    files.write_atomic(attempt.paths.result("verify"), json.dumps(told).encode())


def test_verify_has_a_row_of_each_threshold(tmp_path: Path) -> None:
    config = volumes.make_volume(tmp_path)
    settings = yaml.safe_load(config.read_text())
    settings |= {"method": "exact", "segment": {}, "block": {"size": [32, 48, 48]}}
    settings["paths"]["output"] += "-{threshold}"
    config.write_text(yaml.safe_dump(settings))
    run = volumes.plan_run(config, thresholds=(0.5, 0.7))
    low, high = run.attempt.each()
    assert {name: counts(row) for name, row in rows(run.attempt).items()} == {
        "verify 0.5": "queued",
        "verify 0.7": "queued",
    }
    ended(low)
    ended(high, failures=[{"key": None, "cause": "a chunk is gone"}])
    found = rows(run.attempt)
    assert {name: counts(row) for name, row in found.items()} == {
        "verify 0.5": "done",
        "verify 0.7": "failed",
    }
    assert found["verify 0.5"]["ended"] - found["verify 0.5"]["began"] == pytest.approx(2.5)
    volumes.release(run)


def test_verify_runs_once_all_else_is_complete(tmp_path: Path) -> None:
    run = plan_many(tmp_path, (1, 1, 2))
    told = {"stage": "apply", "asked": True, "total": 2, "done": 1, "empty": 1, "ended": 1500.0}

    def row(stage: dict[str, Any], *, is_alive: bool) -> dict[str, Any]:
        (found,) = verify_rows.rows(run.attempt, [stage], 1510.0, is_alive=is_alive)
        return found

    assert counts(row(told | {"done": 0}, is_alive=True)) == "queued"
    working = row(told, is_alive=True)
    assert (counts(working), working["started"]) == ("running", 1500.0)
    assert counts(row(told, is_alive=False)) == "missing", "nothing works on it any more"
    volumes.release(run)


def test_what_differs_from_the_run_before(tmp_path: Path) -> None:
    first = plan_many(tmp_path, (1, 1, 2), run="first")
    assert before.told(first.attempt) is None
    volumes.release(first)
    config = Path(first.plan.config_path)
    same = volumes.plan_run(config, run="second")
    assert before.told(same.attempt) == {
        "run": "first", "attempt": 1, "same_run": False, "differs": []
    }  # fmt: skip
    volumes.release(same)
    other = volumes.plan_run(
        config, {"segment.threshold": 0.4, "apply.encoding": "raw"}, run="second"
    )
    told = before.told(other.attempt)
    assert told is not None and told["same_run"]
    assert told["differs"] == [
        "apply.encoding: compressed_segmentation -> raw",
        "segment.threshold: 0.5 -> 0.4",
    ]
    volumes.release(other)
    assert before.told(same.attempt) is not None, "a later run changes nothing of that"


def test_a_run_of_another_release_is_told_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    first = plan_many(tmp_path, (1, 1, 2), run="first")
    volumes.release(first)
    plan = json.loads(first.attempt.paths.plan.read_text())
    first.attempt.paths.plan.write_text(json.dumps(plan | {"version": "0.1.0", "geometry": None}))
    now = volumes.plan_run(Path(first.plan.config_path), {"segment.threshold": 0.4}, run="second")
    told = before.told(now.attempt)
    assert told is not None
    assert told["differs"] == [f"magneton: 0.1.0 -> {__version__}", "segment.threshold: 0.5 -> 0.4"]
    first.attempt.paths.config.write_text("[")
    told = before.told(now.attempt)
    assert told is not None
    assert told["differs"][-1] == "the settings of that run can't be read"
    volumes.release(now)
