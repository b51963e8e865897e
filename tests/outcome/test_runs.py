"""One table over the runs of a volume: whatever became of them, and whichever release made them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from magneton_tasks.base import files
from magneton_tasks.cli.main import cli
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import EXIT_NO_INPUT, EXIT_USAGE, MagnetonError
from magneton_tasks.formats.precomputed.owner import read_owner, write_owner
from magneton_tasks.outcome import run_rows, run_table, scores
from magneton_tasks.outcome.run_rows import RunRow
from magneton_tasks.work.attempt import Attempt
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many, write_records

GIB = 2**30


def result(attempt: Attempt, task: str, **told: Any) -> None:
    stage = task.split("-")[0]
    path = attempt.paths.result("x").with_name(f"{task}.json")
    files.write_atomic(path, json.dumps({"stage": stage, **told}).encode())


def rows_of(config: Path) -> list[RunRow]:
    return run_rows.of_volume(load_config(config))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs: verified, with another threshold and encoding, failed, killed, and one that works."""
    folder = tmp_path_factory.mktemp("runs")
    first = plan_many(folder, (1, 1, 4), run="first")
    config = Path(first.plan.config_path)
    result(first.attempt, "segment-0000", cpu_s=7200.0, peak_bytes=3 * GIB)
    result(first.attempt, "apply-0000", cpu_s=1800.0, peak_bytes=GIB)
    result(first.attempt, "verify", objects=12, seconds=1.0)
    volumes.release(first)

    other = volumes.plan_run(
        config, {"segment.threshold": 0.4, "apply.encoding": "raw"}, run="other"
    )
    result(other.attempt, "verify", objects=9)
    volumes.release(other)

    failed = volumes.plan_run(config, run="failed")
    failures = [{"key": 2, "cause": "torn", "exit_code": 65}]
    result(failed.attempt, "segment-0000", cpu_s=360.0, failures=failures)
    volumes.release(failed)

    killed = volumes.plan_run(config, {"segment.threshold": 0.6}, run="killed")

    def record(key: int) -> dict[str, Any]:
        return {"cpu_s": 900.0, "peak_bytes": 2 * GIB} if key < 2 else {"state": "started"}

    write_records(killed.attempt, "segment", 3, record)
    volumes.release(killed)
    volumes.plan_run(config, {"segment.threshold": 0.6}, run="works")
    return config


def test_a_row_of_each_run(volume: Path) -> None:
    rows = {row.run: row for row in rows_of(volume)}
    assert {run: row.state for run, row in rows.items()} == {
        "works": "running", "killed": "stopped", "failed": "failed", "other": "verified",
        "first": "verified",
    }  # fmt: skip
    first, killed = rows["first"], rows["killed"]
    assert (first.objects, first.cpu_s, first.peak_bytes) == (12, 9000.0, 3 * GIB)
    assert first.seconds is not None and first.seconds >= 0
    # what was killed has left no result: its records tell, and of no other run
    assert (killed.cpu_s, killed.peak_bytes, killed.objects) == (1800.0, 2 * GIB, None)
    assert killed.seconds is not None
    assert (rows["failed"].cpu_s, rows["works"].cpu_s) == (360.0, None)
    assert [row.threshold for row in rows.values()] == [0.6, 0.6, 0.5, 0.4, 0.5]


def test_only_settings_that_differ_have_a_column(volume: Path) -> None:
    rows = rows_of(volume)
    assert run_table.differing(rows) == ["apply.encoding"]
    read = list(csv.DictReader(io.StringIO(run_table.as_csv(rows))))
    found = {row["run"]: row for row in read}
    assert found["other"]["apply.encoding"] == "raw"
    assert found["first"] | {
        "state": "verified", "threshold": "0.5", "objects": "12", "cpu_hours": "2.5",
        "peak_gib": "3.0", "apply.encoding": "compressed_segmentation",
    } == found["first"]  # fmt: skip
    assert found["killed"]["objects"] == ""
    assert "vi" not in found["first"] and "magneton" not in found["first"]


def test_runs_of_an_older_release_and_broken_ones(volume: Path, tmp_path: Path) -> None:
    made = plan_many(tmp_path, (1, 1, 2), run="old")
    config, paths = Path(made.plan.config_path), made.attempt.paths
    result(made.attempt, "verify", objects=4)
    plan = json.loads(paths.plan.read_text())
    for name in ("cuts", "geometry", "threshold", "fingerprints"):
        plan.pop(name)
    paths.plan.write_text(json.dumps(plan | {"version": "0.1.0"}))
    volumes.release(made)
    torn = volumes.plan_run(config, run="torn")
    torn.attempt.paths.plan.write_text("{")
    volumes.release(torn)
    now = volumes.plan_run(config, {"segment.threshold": 0.4}, run="now")
    volumes.release(now)
    rows = {row.run: row for row in rows_of(config)}
    assert {run: (row.state, row.magneton, row.objects) for run, row in rows.items()} == {
        "now": ("stopped", now.plan.version, None),
        "torn": ("unreadable", None, None),
        "old": ("verified", "0.1.0", 4),
    }
    texts = run_table.as_data(list(rows.values()))["texts"]
    assert [row["magneton"] for row in texts] == [now.plan.version, "", "0.1.0"]


def test_several_thresholds_are_a_row_each(tmp_path: Path) -> None:
    """They share the CPU time of what they have in common."""
    config = volumes.make_volume(tmp_path)
    settings = yaml.safe_load(config.read_text())
    settings |= {"method": "exact", "segment": {}, "block": {"size": [32, 48, 48]}}
    settings["paths"]["output"] += "-{threshold}"
    config.write_text(yaml.safe_dump(settings))
    run = volumes.plan_run(config, thresholds=(0.5, 0.7))
    low, high = run.attempt.each()
    result(run.attempt, "segment-0000", cpu_s=100.0)
    result(run.attempt, "apply-0000", cpu_s=7.0, threshold="0.5")
    result(run.attempt, "apply-0001", cpu_s=9.0, threshold="0.7")
    result(low, "verify", objects=3)
    result(high, "verify", failures=[{"key": None, "cause": "gone"}])
    volumes.release(run)
    found = [(r.threshold, r.state, r.objects, r.cpu_s) for r in rows_of(config)]
    assert found == [(0.5, "verified", 3, 57.0), (0.7, "failed", None, 59.0)]
    assert run_table.differing(rows_of(config)) == [], "their outputs differ by the threshold alone"


def test_scores_are_kept_with_the_run_whose_result_was_scored(tmp_path: Path) -> None:
    made = plan_many(tmp_path, (1, 1, 2), run="scored")
    config, output = Path(made.plan.config_path), made.attempt.config.paths.output
    found = {"vi": 0.5, "vi_split": 0.3, "vi_merge": 0.2, "arand": 0.1, "voxels": 9}
    assert not scores.keep(output, "file:///truth", (0, 0), found), "nothing is proved yet"
    assert not scores.keep(f"file://{tmp_path}/nothing", "file:///truth", (0, 0), found)
    result(made.attempt, "verify", objects=4)
    owner = read_owner(output)
    assert owner is not None
    write_owner(output, owner | {"finished": {"time": 1.0, "run": "scored"}, "threshold": 0.5})
    assert scores.keep(output, "file:///truth", (0, 0), found)
    assert scores.keep(output, "file:///truth", (0, 0), found | {"vi": 0.4}), "scored anew"
    assert [one["vi"] for one in scores.of(made.attempt.paths)] == [0.4]
    volumes.release(made)
    for run, sets in (("again", {}), ("other", {"segment.threshold": 0.7})):
        later = volumes.plan_run(config, sets, run=run)
        result(later.attempt, "verify", objects=4)
        volumes.release(later)
    told = {row.run: row.scores and row.scores["vi"] for row in rows_of(config)}
    assert told == {"scored": 0.4, "again": 0.4, "other": None}, (
        "the same result has the same score"
    )
    (row,) = csv.DictReader(io.StringIO(run_table.as_csv(rows_of(config)[-1:])))
    assert (row["vi"], row["truth"]) == ("0.4", "file:///truth")


# ------------------------------------------------------------------ the command
Invoke = Callable[..., str]


@pytest.fixture
def invoke() -> Invoke:
    def run(*words: object) -> str:
        done = CliRunner().invoke(cli, ["runs", *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_command(volume: Path, invoke: Invoke, tmp_path: Path) -> None:
    lines = [line.split() for line in invoke(volume).splitlines() if line.strip()]
    assert lines[0][:2] == ["started", "run"] and "apply.encoding" in lines[0]
    assert [line[2] for line in lines[2:]] == ["works", "killed", "failed", "other", "first"]
    told = invoke(volume, "--csv", "-")
    assert "3 runs" not in told and len(told.splitlines()) == 6
    assert invoke(volume, "--csv", tmp_path / "runs.csv") == f"5 runs: {tmp_path}/runs.csv\n"
    written = (tmp_path / "runs.csv").read_text()
    assert written.splitlines()[0] == told.splitlines()[0]
    data = json.loads(invoke(volume, "--json"))
    assert data["runs"][-1]["cpu_hours"] == 2.5
    assert [column["name"] for column in data["columns"]] == told.splitlines()[0].split(",")


def test_what_the_command_refuses(volume: Path, tmp_path: Path) -> None:
    with pytest.raises(MagnetonError, match="contradict") as error:
        CliRunner().invoke(
            cli, ["runs", str(volume), "--csv", "-", "--json"], catch_exceptions=False,
            standalone_mode=False,
        )  # fmt: skip
    assert error.value.exit_code == EXIT_USAGE
    config = volumes.make_volume(tmp_path)
    with pytest.raises(MagnetonError, match="holds no run yet") as error:
        CliRunner().invoke(
            cli, ["runs", str(config)], catch_exceptions=False, standalone_mode=False
        )
    assert error.value.exit_code == EXIT_NO_INPUT
