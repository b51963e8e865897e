"""Runs on a schedule: with and without new data, with data that come late, and back in time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.e2e.airflow import PREFIX, ROOT, Airflow, wait_until
from tests.shell_blocks import commands
from tests.tiny_volume import OBJECTS, write_tiny_volume

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")


def test_ticks_with_and_without_new_data(airflow: Airflow) -> None:
    config = airflow.write_volume("ticking", 'schedule: "* * * * *"\nlocal: {workers: 2}\n')
    dag_id = airflow.wait_for_dag("ticking")
    airflow.switch(dag_id, on=True)

    def ended() -> list[str]:
        return [r["dag_run_id"] for r in airflow.runs("ticking") if r["state"] == "success"]

    def log(run_id: str) -> str:
        return airflow.log("ticking", run_id, "plan")

    wait_until(lambda: len(ended()) >= 2, "two ticks are over")
    first, second = ended()[:2]
    assert "12 of 12" in log(first)
    assert "nothing to do: all is done" in log(second)
    config.write_text(config.read_text() + "input: {version: 2}\n")
    seen = len(airflow.runs("ticking"))
    wait_until(lambda: len(ended()) > seen, "a tick after the new version is over")
    airflow.switch(dag_id, on=False)
    later = [log(run_id) for run_id in ended()[seen - 1 :]]
    assert sum("12 of 12" in text for text in later) == 1, "done anew, once"
    assert all(r["run_type"] == "scheduled" for r in airflow.runs("ticking"))


def test_late_input_is_waited_for_without_a_slot(airflow: Airflow) -> None:
    airflow.write_volume(
        "late", "wait_for_input: {timeout: 30m, poll: 2s, marker: DONE}\nlocal: {workers: 2}\n"
    )
    airflow.wait_for_dag("late")
    run_id = airflow.trigger("late")

    def state() -> str:
        return str(airflow.tasks("late", run_id)["wait_for_input", -1]["state"])

    wait_until(lambda: state() == "deferred", "the run waits")
    (airflow.volumes / "late" / "affinity" / "DONE").touch()
    assert airflow.wait_for_run("late", run_id) == "success"
    assert airflow.result("late", "verify")["objects"] == OBJECTS


def test_a_missing_input_may_be_skipped(airflow: Airflow) -> None:
    airflow.write_volume("spared", "wait_for_input: {timeout: 1s, poll: 1s, missing: skip}\n")
    shutil.rmtree(airflow.volumes / "spared" / "affinity")
    run_id, state = airflow.run("spared")
    assert state == "success"
    states = {task: t["state"] for (task, _), t in airflow.tasks("spared", run_id).items()}
    assert states.pop("wait_for_input") == states.pop("release") == "success"
    assert set(states.values()) == {"skipped"}
    assert not airflow.work("spared").exists()


def test_backfill_of_three_days_with_one_missing(airflow: Airflow, tmp_path: Path) -> None:
    days = airflow.volumes / "daily"
    for day in (DAYS[0], DAYS[2]):
        write_tiny_volume(days / day)
    config = airflow.configs / "daily.yaml"
    text = (days / DAYS[0] / "configs" / "tiny.yaml").read_text()
    text = text.replace(DAYS[0], "{partition}") + 'schedule: "0 0 * * *"\nlocal: {workers: 2}\n'
    config.write_text(text)
    # A backfill of a DAG that is switched off would wait. (Its own schedule has no input, and fails.)
    airflow.switch(airflow.wait_for_dag("daily"), on=True)

    (shown,) = (c for c in commands(ROOT / "docs" / "backfill.md") if " backfill create " in c.text)
    assert f"--from-date {DAYS[0]} --to-date {DAYS[2]} " in shown.text
    airflow.types(shown)
    _wait_for_backfills(airflow)
    assert _states(airflow) == ["success", "failed", "success"]
    for day in (DAYS[0], DAYS[2]):
        assert (days / day / "segmentation" / "info").is_file()
    missing = _runs(airflow)[1]["dag_run_id"]
    assert f"{days}/{DAYS[1]}/affinity doesn't exist" in airflow.log("daily", missing, "plan")
    found = airflow.call(f"/api/v2/assets/events?source_dag_id={PREFIX}daily")["asset_events"]
    assert sorted(e["partition_key"] for e in found) == [DAYS[0], DAYS[2]]

    write_tiny_volume(days / DAYS[1])
    _backfill(
        airflow, "--from-date", DAYS[0], "--to-date", DAYS[2], "--reprocess-behavior", "failed"
    )
    assert _states(airflow) == ["success"] * 3
    assert [len(list(days.glob(f"{day}/work/runs/*/*"))) for day in DAYS] == [1, 1, 1]

    config.write_text(text + "pool: {rule: any}\n")
    _backfill(
        airflow, "--from-date", DAYS[0], "--to-date", DAYS[0], "--reprocess-behavior", "completed"
    )
    assert _states(airflow) == ["success"] * 3
    first = _runs(airflow)[0]["dag_run_id"]
    tasks = airflow.tasks("daily", first)
    segment = {found["state"] for (task, _), found in tasks.items() if task == "segment"}
    assert segment <= {"skipped", "removed"}, "its blocks are still valid"
    assert tasks["pool", -1]["state"] == "success", "the file was read anew"


def _backfill(airflow: Airflow, *arguments: str) -> None:
    """By command, to its end."""
    airflow.command(
        "backfill", "create", "--dag-id", f"{PREFIX}daily", "--max-active-runs", "2", *arguments
    )
    _wait_for_backfills(airflow)


def _wait_for_backfills(airflow: Airflow) -> None:
    def over() -> bool:
        found = airflow.call(f"/api/v2/backfills?dag_id={PREFIX}daily")["backfills"]
        ends = all(backfill["completed_at"] for backfill in found)
        return ends and all(r["state"] in ("success", "failed") for r in _runs(airflow))

    wait_until(over, "the backfill is over", 1200)


def _runs(airflow: Airflow) -> list[dict[str, Any]]:
    """Those of the backfill, oldest first."""
    return [run for run in airflow.runs("daily") if run["run_type"] == "backfill"]


def _states(airflow: Airflow) -> list[str]:
    return [run["state"] for run in _runs(airflow)]
