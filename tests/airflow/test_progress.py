"""What a run in process tells of its stages, from the records of its attempt."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from magneton_tasks.airflow.service.progress import Progress
from magneton_tasks.base.signs import Signs
from tests.helpers.calls import Caller
from tests.helpers.many_blocks import plan_many, write_records


def test_a_batch_s_end_tells_how_far_its_stage_is_as_status_does(
    tmp_path: Path, cli: Caller, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan_many(tmp_path, (1, 2, 2))
    write_records(run.attempt, "segment", 3, lambda k: {"peak_bytes": 2**30 + k})
    monkeypatch.setattr(time, "time", lambda: run.plan.created + 2.0)
    row = next(
        li for li in cli("status", run.plan.config_path).out.splitlines() if "segment " in li
    )
    figures = row.partition("/s, ")[2]
    assert figures.endswith("left, peak 1.0 GiB")
    signs = Signs(str)
    progress = Progress(signs)
    task = SimpleNamespace(stage="segment", attempt=str(run.attempt.paths.root))
    ti = SimpleNamespace(task_id="segment", rendered_map_index="batch 0: blocks 0-2", task=task)
    progress.on_task_instance_running(None, ti)
    assert signs.doing(7).startswith("    at work for 7.0 s; 3 of 4 blocks, ")
    capfd.readouterr()
    progress.on_task_instance_success(None, ti)
    line = capfd.readouterr().out
    assert line.startswith("    batch 0: blocks 0-2, done in ")
    assert "; 3 of 4 blocks, " in line
    assert line.endswith(f"{figures}\n")


def test_what_has_no_blocks_or_no_attempt_is_told_without(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(Signs(str))
    for stage in ("verify", "segment"):
        task = SimpleNamespace(stage=stage, attempt=str(tmp_path / "no run" / "1"))
        progress.on_task_instance_running(None, SimpleNamespace(task_id=stage))
        progress.on_task_instance_success(None, SimpleNamespace(task_id=stage, task=task))
    assert ";" not in capfd.readouterr().out
