"""What is known to be too large for a worker fails before it begins, so that a runner tries with more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base.worker_env import MEMORY_VARIABLE
from magneton_tasks.stages.dispatch import run_of
from magneton_tasks.stages.planning import group_work
from magneton_tasks.work.job import Job
from tests.helpers import volumes
from tests.helpers.volumes import Run

EXACT: dict[str, Any] = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "dust": 15},
    "pool": {},
    "block": {"size": [12, 20, 36]},
    "local": {"workers": 1},
}


@pytest.fixture
def planned(tmp_path: Path) -> Run:
    """Four blocks, segmented, with their faces."""
    array = volumes.affinities(volumes.cells((24, 40, 36), 30), noise=0.3)
    volumes.write_precomputed(tmp_path / "affinity", array)
    run = volumes.plan_run(volumes.write_config(tmp_path, EXACT), {"local.memory": None})
    assert not run.attempt.config.local.memory
    volumes.run_stages(run, stages=["segment", "faces"])
    assert group_work.prepare(run.attempt, "round0").batches == 1
    return run


def failures(run: Run) -> list[dict[str, Any]]:
    path = run.attempt.paths.result("round0", 0)
    found: list[dict[str, Any]] = json.loads(path.read_text())["failures"]
    return found


def test_a_group_too_large_for_its_worker_is_tried_again_with_more(
    planned: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, str(2 * 2**20))
    assert run_of("round0", "exact")(Job(planned.attempt, "round0")) == 75
    (failure,) = failures(planned)
    assert failure["out_of_memory"] and "group 0 of round0" in failure["cause"]
    assert "more memory" in failure["hint"] and "smaller block.size" in failure["hint"]
    monkeypatch.delenv(MEMORY_VARIABLE)
    assert run_of("round0", "exact")(Job(planned.attempt, "round0")) == 0
