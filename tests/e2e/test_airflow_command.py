"""`scripts/airflow`: Airflow's own command finds home and database by itself, here PostgreSQL."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from magneton_tasks.airflow.service import home as homes
from tests.e2e.airflow import PREFIX, ROOT, Airflow, wait_until
from tests.helpers.shell_blocks import blocks, shown_to
from tests.helpers.tiny_volume import OBJECTS


def test_trigger_list_and_clear(airflow: Airflow) -> None:
    airflow.write_volume("typed", "local: {workers: 2}\n", sizes="few")
    dag_id = airflow.wait_for_dag("typed")
    airflow.command("dags", "trigger", dag_id, "--conf", json.dumps({"segment.threshold": 0.6}))
    (run,) = airflow.runs("typed")
    run_id = run["dag_run_id"]
    assert airflow.wait_for_run("typed", run_id) == "success"
    assert airflow.result("typed", "verify")["objects"] == OBJECTS
    assert "success" in airflow.command("dags", "list-runs", dag_id)

    airflow.command("tasks", "clear", "--yes", "--task-regex", "pool", "--downstream", dag_id)

    def again() -> bool:
        return int(airflow.tasks("typed", run_id)["pool", -1]["try_number"]) == 2

    wait_until(again, "the cleared task is tried again")
    assert airflow.wait_for_run("typed", run_id) == "success"


def test_what_the_documents_show_of_a_volume(airflow: Airflow) -> None:
    """As it stands there, of a volume that is called as theirs."""
    airflow.write_volume("cortex", "local: {workers: 2}\n", sizes="few")
    airflow.wait_for_dag("cortex")
    shown = shown_to(__file__, "operating.md", "trigger-form.md")
    assert {block.page.name for block in shown} == {"operating.md", "trigger-form.md"}
    assert "manual__" in airflow.types(*shown), "runs are listed"
    states = {
        r["dag_run_id"]: airflow.wait_for_run("cortex", r["dag_run_id"])
        for r in airflow.runs("cortex")
    }
    assert len(states) == sum(block.text.count(" dags trigger ") for block in shown)
    assert set(states.values()) == {"success"}


def test_the_line_for_cron(airflow: Airflow, tmp_path: Path) -> None:
    """For a checkout in ~/magneton, in the little environment that cron gives."""
    shown = next(b for b in blocks(ROOT / "docs" / "operating.md") if b.language == "crontab")
    *_, command = shown.text.split(maxsplit=5)
    project = tmp_path / "magneton"
    project.mkdir()
    for entry in ROOT.iterdir():
        if entry.name != "airflow_home":
            (project / entry.name).symlink_to(entry)
    (project / "airflow_home").symlink_to(airflow.home)
    environ = {
        "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh",
        homes.HOME_VARIABLE: str(airflow.home),
    }  # fmt: skip
    done = subprocess.run(["sh", "-c", command], env=environ, cwd=tmp_path, check=False)
    said = (airflow.home / "logs" / "db-clean.log").read_text()
    assert done.returncode == 0, said
    assert "dag_run" in said


def test_what_airflow_refuses_has_its_exit_code(airflow: Airflow) -> None:
    assert "not found" in airflow.command("dags", "trigger", f"{PREFIX}nobody", code=1)


def test_a_home_that_was_never_started_is_refused(tmp_path: Path) -> None:
    said = Airflow(tmp_path).command("dags", "list", code=66)
    assert "never been started" in said and "make up" in said
