"""A stage whose projection was too low: the local runner tries it again, with real workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.runners import local
from tests.helpers import volumes
from tests.helpers.told import Sentences
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
    """Four blocks; what plan projects for their join is far too little."""
    array = volumes.affinities(volumes.cells((24, 40, 36), 30), noise=0.3)
    volumes.write_precomputed(tmp_path / "affinity", array)
    run = volumes.plan_run(volumes.write_config(tmp_path, EXACT), {"local.memory": None})
    assert not run.attempt.config.local.memory
    path = run.attempt.paths.plan
    plan = json.loads(path.read_text())
    plan["memory"]["join1"]["bound"] = 2**20
    path.write_text(json.dumps(plan))
    for stage in ("segment", "count"):
        assert local.run_stage(run.attempt.paths.root, stage, 1, 1, lambda _: None) == {0: 0}
    return run


def failures(run: Run) -> list[dict[str, Any]]:
    path = run.attempt.paths.result("join1", 0)
    found: list[dict[str, Any]] = json.loads(path.read_text())["failures"]
    return found


def test_a_join_that_breaks_its_bound_is_joined_all_the_same(planned: Run) -> None:
    lines = Sentences()
    root = planned.attempt.paths.root
    codes = local.run_stage(root, "join1", 1, 1, lines.take, alone_bytes=8 * 2**30)
    assert codes == {0: 0}, lines
    assert "join1: batch 0 ran out of memory; trying again, alone with 8.0 GiB" in lines
    assert failures(planned) == []


def test_where_nothing_is_enough_the_end_says_what_helps_a_join(planned: Run) -> None:
    lines = Sentences()
    root = planned.attempt.paths.root
    codes = local.run_stage(root, "join1", 1, 1, lines.take, alone_bytes=2 * 2**20)
    assert codes == {0: 78}
    (failure,) = failures(planned)
    assert "edges may need" in failure["cause"]
    assert "more memory" in failure["hint"]
    assert "larger block.size" in failure["hint"]
    assert "smaller" not in failure["hint"]
