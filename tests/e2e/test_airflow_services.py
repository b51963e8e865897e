"""`make up`, a run over REST as a scheduler runs it, `make down`: on loopback, without root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from magneton_tasks.airflow.services import Services
from tests.tiny_volume import OBJECTS, write_tiny_volume

pytestmark = pytest.mark.xdist_group("airflow")

ROOT = Path(__file__).resolve().parents[2]
DAG = "instance_segmentation.tiny"


class Airflow:
    """A running Airflow, as somebody with a password sees it."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.services, self.environ = Services(home, ROOT), environ
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token = ""

    def script(self, name: str) -> str:
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py")]
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log_in(self) -> None:
        answer = self.call(
            "/auth/token", {"username": "admin", "password": self.services.password()}
        )
        self._token = answer["access_token"]

    def call(self, path: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(
            self.services.address + path,
            data=None if data is None else json.dumps(data).encode(),
            headers=headers,
        )
        with self._opener.open(request) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def wait_for_dag(self) -> None:
        """The dag-processor takes some seconds to find it."""
        while DAG not in [dag["dag_id"] for dag in self.call("/api/v2/dags")["dags"]]:
            time.sleep(0.5)

    def run(self, conf: dict[str, Any]) -> tuple[str, dict[tuple[str, int], dict[str, Any]]]:
        """State of a triggered run when it has ended, and its tasks."""
        runs = f"/api/v2/dags/{DAG}/dagRuns"
        run = self.call(runs, {"logical_date": None, "conf": conf})
        one = f"{runs}/{run['dag_run_id'].replace('+', '%2B')}"
        while (state := self.call(one)["state"]) in ("queued", "running"):
            time.sleep(1)
        tasks = self.call(f"{one}/taskInstances")["task_instances"]
        return state, {(t["task_id"], t["map_index"]): t for t in tasks}


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[Airflow]:
    write_tiny_volume(tmp_path, "local: {workers: 2}\n")
    home = tmp_path / "airflow_home"
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        "MAGNETON_AIRFLOW_HOME": str(home),
        "MAGNETON_CONFIGS": str(tmp_path / "configs"),
    }
    started = Airflow(home, environ)
    yield started
    started.services.stop()


def test_up_run_down(airflow: Airflow, tmp_path: Path) -> None:
    told = airflow.script("airflow_up")
    home = airflow.services.home
    assert airflow.services.address in told
    assert airflow.services.password() in told
    assert airflow.services.password_file.stat().st_mode & 0o777 == 0o600
    started = airflow.services.running()
    assert set(started) == {"api-server", "scheduler", "dag-processor", "triggerer"}
    groups = {os.getpgid(p.pid) for p in started.values()}
    assert len(groups) == 4, "each service has a process group of its own"

    assert airflow.services.address in airflow.script("airflow_up"), "twice is harmless"
    assert airflow.services.running() == started

    airflow.log_in()
    airflow.wait_for_dag()
    state, tasks = airflow.run({"segment.threshold": 0.6})
    assert state == "success", tasks
    assert tasks["segment", 1]["rendered_map_index"] == "batch 1: blocks 6-11"
    assert tasks["segment", 1]["pool"] == "magneton_local"
    (result,) = (tmp_path / "work").glob("runs/*/1/results/verify.json")
    assert json.loads(result.read_text())["objects"] == OBJECTS

    state, tasks = airflow.run({"segment.treshold": 0.6})
    assert state == "failed"
    assert tasks["plan", -1]["state"] == "failed"
    assert tasks["plan", -1]["try_number"] == 1

    everything = {q.pid for p in started.values() for q in (p, *p.children(recursive=True))}
    airflow.script("airflow_down")
    assert airflow.services.running() == {}
    assert not [p for p in everything if psutil.pid_exists(p)]
    assert not [
        p for p in psutil.process_iter() if str(home) in _environ(p).get("AIRFLOW_HOME", "")
    ]
    assert "isn't running" in airflow.script("airflow_down")


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
