"""`make up`, a run over REST as a scheduler runs it, `make down`: SQLite, on loopback, without root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psutil

from magneton_tasks import places
from magneton_tasks.airflow import home as homes
from tests.e2e.airflow import ROOT, Airflow, clean_environ
from tests.tiny_volume import OBJECTS


def test_up_run_down(airflow_of: Callable[..., Airflow]) -> None:
    airflow = airflow_of()
    airflow.write_volume("tiny", "local: {workers: 2}\n")
    told = _script(airflow, "airflow_up")
    assert airflow.address in told
    assert airflow.services.password() in told
    assert airflow.services.password_file.stat().st_mode & 0o777 == 0o600
    started = airflow.services.running()
    assert set(started) == {"api-server", "scheduler", "dag-processor", "triggerer"}
    groups = {os.getpgid(p.pid) for p in started.values()}
    assert len(groups) == 4, "each service has a process group of its own"

    assert airflow.address in _script(airflow, "airflow_up"), "twice is harmless"
    assert airflow.services.running() == started

    run_id, state = airflow.run("tiny", {"segment.threshold": 0.6})
    tasks = airflow.tasks("tiny", run_id)
    assert state == "success", tasks
    assert tasks["segment", 1]["rendered_map_index"] == "batch 1: blocks 6-11"
    assert tasks["segment", 1]["pool"] == "magneton_local"
    assert airflow.result("tiny", "verify")["objects"] == OBJECTS

    assert airflow.address in _script(airflow, "airflow_health")
    assert "dag_run" in _script(airflow, "airflow_db_clean", "--dry-run")
    started["triggerer"].kill()
    assert "triggerer isn't running" in _script(airflow, "airflow_health", code=1)
    _script(airflow, "airflow_up")  # mends it
    started = airflow.services.running()

    everything = {q.pid for p in started.values() for q in (p, *p.children(recursive=True))}
    _script(airflow, "airflow_down")
    assert airflow.services.running() == {}
    assert not [p for p in everything if psutil.pid_exists(p)]
    home = str(airflow.home)
    assert not [p for p in psutil.process_iter() if home in _environ(p).get("AIRFLOW_HOME", "")]
    assert "isn't running" in _script(airflow, "airflow_down")
    assert "isn't running" in _script(airflow, "airflow_health", code=2)


def _script(airflow: Airflow, name: str, *arguments: str, code: int = 0) -> str:
    """What a script of the project prints, run as `make` runs it."""
    environ = {
        **clean_environ(),
        homes.HOME_VARIABLE: str(airflow.home),
        places.CONFIGS_VARIABLE: str(airflow.configs),
    }
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
