"""Runs on a schedule: with and without new data, with data that come late, and back in time."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from croniter import croniter

from tests.e2e.airflow import PREFIX, ROOT, Airflow, wait_until
from tests.helpers.shell_blocks import blocks, shown_to
from tests.helpers.tiny_volume import OBJECTS, settings, write_tiny_volume

DAYS = ("2026-01-01", "2026-01-02", "2026-01-03")
#: What the tiny volume needs beside what a page shows.
TINY = f"{settings('overlap', 'few')}local: {{workers: 2}}\n"


def test_ticks_with_and_without_new_data(airflow: Airflow) -> None:
    every_minute = 'schedule: "* * * * *"\nlocal: {workers: 2}\n'
    config = airflow.write_volume("ticking", every_minute, sizes="few")
    dag_id = airflow.wait_for_dag("ticking")
    airflow.switch(dag_id, on=True)

    def ended() -> list[str]:
        return [r["dag_run_id"] for r in airflow.runs("ticking") if r["state"] == "success"]

    def log(run_id: str) -> str:
        return airflow.log("ticking", run_id, "plan")

    wait_until(lambda: len(ended()) >= 2, "two ticks are over")
    first, second = ended()[:2]
    assert "2 of 2" in log(first)
    assert "nothing to do: all is done" in log(second)
    config.write_text(config.read_text() + "input: {version: 2}\n")
    seen = len(airflow.runs("ticking"))
    wait_until(lambda: len(ended()) > seen, "a tick after the new version is over")
    airflow.switch(dag_id, on=False)
    later = [log(run_id) for run_id in ended()[seen - 1 :]]
    assert sum("2 of 2" in text for text in later) == 1, "done anew, once"
    assert all(r["run_type"] == "scheduled" for r in airflow.runs("ticking"))


def test_late_input_is_waited_for_without_a_slot(airflow: Airflow) -> None:
    waits = "wait_for_input: {timeout: 30m, poll: 2s, marker: DONE}\nlocal: {workers: 2}\n"
    airflow.write_volume("late", waits, sizes="few")
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


def test_switching_it_on_runs_the_latest_past_date_alone(airflow: Airflow) -> None:
    data = airflow.volumes / "scheduled"
    write_tiny_volume(data)
    shown = _shown_config("schedules.md", data)
    schedule = yaml.safe_load(shown)["schedule"]
    (airflow.configs / "scheduled.yaml").write_text(f"{shown}\n{TINY}")
    dag_id = airflow.wait_for_dag("scheduled")

    def latest_past_date(now: datetime) -> datetime:
        found: datetime = croniter(schedule, now).get_prev(datetime)
        return found

    def has_its_next_run_to_come() -> bool:
        found = airflow.call(f"/api/v2/dags/{dag_id}/details")["next_dagrun_run_after"]
        return found is not None and datetime.fromisoformat(found) > datetime.now(UTC)

    before = datetime.now(UTC)
    airflow.switch(dag_id, on=True)
    wait_until(lambda: bool(airflow.runs("scheduled")), "it runs at once")
    (run,) = airflow.runs("scheduled")
    assert run["run_type"] == "scheduled"
    dates = {latest_past_date(before), latest_past_date(datetime.now(UTC))}
    assert datetime.fromisoformat(run["logical_date"]) in dates
    assert airflow.wait_for_run("scheduled", run["dag_run_id"]) == "success"
    airflow.switch(dag_id, on=False)
    airflow.switch(dag_id, on=True)
    wait_until(has_its_next_run_to_come, "the next run is one of the future")
    runs = [found["dag_run_id"] for found in airflow.runs("scheduled")]
    assert runs == [run["dag_run_id"]], "this date has had its run"


def test_backfill_of_three_days_with_one_missing(airflow: Airflow) -> None:
    data = airflow.volumes / "daily"
    for day in (DAYS[0], DAYS[2]):
        _write_affinity_of(data, day)
    text = f"{_shown_config('backfill.md', data)}\n{TINY}"
    config = airflow.configs / "daily.yaml"
    config.write_text(text)
    airflow.wait_for_dag("daily")
    create, again, by_rest = shown_to(__file__, "backfill.md")
    for block in (create, again):
        assert f"--from-date {DAYS[0]} --to-date {DAYS[2]}" in block.text

    airflow.types(create)
    _wait_for_backfills(airflow)
    assert [run["logical_date"][:10] for run in _runs(airflow)] == list(DAYS)
    assert _states(airflow) == ["success", "failed", "success"]
    (at_once,) = (run for run in airflow.runs("daily") if run["run_type"] == "scheduled")
    assert airflow.wait_for_run("daily", at_once["dag_run_id"]) == "failed", "it has no input"
    for day in (DAYS[0], DAYS[2]):
        assert (data / "segmentation" / day / "info").is_file()
    missing = _runs(airflow)[1]["dag_run_id"]
    assert f"{data}/affinity/{DAYS[1]} doesn't exist" in airflow.log("daily", missing, "plan")
    found = airflow.call(f"/api/v2/assets/events?source_dag_id={PREFIX}daily")["asset_events"]
    assert sorted(e["partition_key"] for e in found) == [DAYS[0], DAYS[2]]

    _write_affinity_of(data, DAYS[1])
    airflow.types(again)
    _wait_for_backfills(airflow)
    assert _states(airflow) == ["success"] * 3
    assert [len(list(data.glob(f"work/{day}/runs/*/*"))) for day in DAYS] == [1, 1, 1]

    config.write_text(text + "pool: {rule: any}\n")
    airflow.types(by_rest, answers=(airflow.address, airflow.services.password()))
    _wait_for_backfills(airflow)
    assert _states(airflow) == ["success"] * 3
    first = _runs(airflow)[0]["dag_run_id"]
    tasks = airflow.tasks("daily", first)
    segment = {found["state"] for (task, _), found in tasks.items() if task == "segment"}
    assert segment <= {"skipped", "removed"}, "its blocks are still valid"
    assert tasks["pool", -1]["state"] == "success", "the file was read anew"


def _shown_config(page: str, data: Path) -> str:
    """The config that a page begins with, its volumes below ``data``."""
    first = next(block for block in blocks(ROOT / "docs" / page) if block.language == "yaml")
    assert "schedule:" in first.text and "/data/" in first.text
    return first.text.replace("/data/", f"{data}/")


def _write_affinity_of(data: Path, day: str) -> None:
    write_tiny_volume(data / day)
    (data / "affinity").mkdir(exist_ok=True)
    (data / day / "affinity").rename(data / "affinity" / day)


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
