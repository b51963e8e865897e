"""A running Airflow, as its users meet it: REST, the web interface, volume configs in a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service.services import Services
from magneton_tasks.config import places
from tests.e2e.rest import RefusedError, Rest
from tests.helpers.shell_blocks import Block, typed
from tests.helpers.tiny_volume import chunk_file, write_tiny_volume

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "instance_segmentation."
#: Seconds that anything here may take on a busy machine.
PATIENCE_S = 600.0
#: Of each user's password: nobody else reaches this Airflow.
ROLES = {"admin": "admin", "operator": "op", "viewer": "viewer"}
_ENDED = ("success", "failed")


@dataclass(frozen=True, slots=True)
class TestServices(Services):
    """The project's own services, with settings that only a test wants."""

    #: beside those of the project
    more: tuple[tuple[str, str], ...] = ()

    __test__ = False

    def environ(self) -> dict[str, str]:
        return {**Services.environ(self), **dict(self.more)}


class Airflow:
    """An Airflow with a home, configs and volumes of its own, under ``folder``.

    Parameters
    ----------
    folder
        Holds ``home/``, ``configs/`` and ``volumes/``, which is its ``$MAGNETON_ROOTS``.
    database
        Address of its database; None: SQLite.
    more
        Environment of its services, beside what the project sets.
    """

    def __init__(
        self, folder: Path, database: str | None = None, more: Mapping[str, str] | None = None
    ) -> None:
        self.home, self.configs = folder / "home", folder / "configs"
        self.volumes = folder / "volumes"
        self.home.mkdir(mode=0o700, parents=True)
        self.configs.mkdir()
        self.volumes.mkdir()
        users = ",".join(f"{name}:{role}" for name, role in ROLES.items())
        given = {
            places.CONFIGS_VARIABLE: str(self.configs),
            "MAGNETON_ROOTS": str(self.volumes),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
            # Nothing here waits for its next look at the files: `read_configs` asks for it.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            **(more or {}),
        }
        if database:
            databases.keep(self.home, database)
        self.services = TestServices(self.home, ROOT, tuple(given.items()))
        self._rest = Rest(lambda: self.address, self.services.password)

    # ------------------------------------------------------------------ services
    def start(self) -> None:
        """Start what doesn't run, and wait until it is healthy."""
        self.services.start(lambda _: None)

    def stop(self) -> None:
        self.services.stop(lambda _: None)

    @property
    def address(self) -> str:
        return self.services.address

    def command(self, *arguments: str, code: int = 0) -> str:
        """What ``scripts/airflow ARGUMENTS...`` prints; it is told the home, and nothing else."""
        done = subprocess.run(
            [str(ROOT / "scripts" / "airflow"), *arguments],
            env=self._environ(),
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def types(self, *shown: Block, answers: Sequence[str] = ()) -> str:
        """What blocks of the documents print, as they stand there, in the project's folder."""
        return typed(shown, ROOT, self._environ(), answers)

    def _environ(self) -> dict[str, str]:
        """Of somebody who knows the home, and nothing else."""
        return {**clean_environ(), homes.HOME_VARIABLE: str(self.home)}

    # ------------------------------------------------------------------ REST
    def token(self, user: str = "admin") -> str:
        """As `Rest.token`."""
        return self._rest.token(user)

    def call(self, path: str, data: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """As `Rest.call`."""
        return self._rest.call(path, data, **options)

    def map_path(self, name: str, run_id: str) -> str:
        """Where the block map of a run lies, with its data below."""
        return f"/magneton/runs/{PREFIX}{name}/{quote(run_id, safe='')}/"

    def wait_for_map(self, name: str, run_id: str) -> None:
        """Until the web server has read a run's records; before, it says that it is reading them."""
        path = f"{self.map_path(name, run_id)}summary.json"
        wait_until(
            lambda: self.call(path)["state"] != "reading", f"the records of {run_id} are read"
        )

    # ------------------------------------------------------------------ configs and DAGs
    def write_volume(
        self, name: str, more: str = "", method: str = "overlap", sizes: str = ""
    ) -> Path:
        """A tiny volume in ``volumes/<name>`` and its config ``configs/<name>.yaml``; the config."""
        made = write_tiny_volume(self.volumes / name, more, method, sizes=sizes)
        config = self.configs / f"{name}.yaml"
        shutil.move(made, config)
        return config

    def work(self, name: str) -> Path:
        """The work directory of a volume that `write_volume` made."""
        return self.volumes / name / "work"

    def read_configs(self) -> None:
        """Let Airflow read the configs now instead of in half a minute."""
        if not (dags := self.call("/api/v2/dags?limit=1")["dags"]):
            return  # it is about to do so anyway
        with suppress(RefusedError):  # 409: it has been asked already
            self.call(f"/api/v2/parseDagFile/{dags[0]['file_token']}", method="PUT")

    def wait_for_dag(
        self, name: str, is_right: Callable[[dict[str, Any]], bool] | None = None
    ) -> str:
        """The id of a config's DAG, once Airflow knows it (and ``is_right`` about its details)."""
        dag_id = PREFIX + name

        def found() -> bool:
            try:
                details = self.call(f"/api/v2/dags/{dag_id}/details")
            except RefusedError:
                return False
            return not details["is_stale"] and (is_right is None or is_right(details))

        if not found():
            self.read_configs()
            wait_until(found, f"Airflow knows {dag_id}")
        return dag_id

    # ------------------------------------------------------------------ runs
    def trigger(self, name: str, conf: Mapping[str, Any] | None = None, user: str = "admin") -> str:
        """Start a run of a config's DAG by hand; its id."""
        path = f"/api/v2/dags/{PREFIX}{name}/dagRuns"
        run = self.call(path, {"logical_date": None, "conf": dict(conf or {})}, user=user)
        return str(run["dag_run_id"])

    def run_path(self, name: str, run_id: str) -> str:
        """Where REST keeps a run."""
        dag_id = name if name.startswith("magneton_") else PREFIX + name
        return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"

    def wait_planned(self, name: str) -> None:
        """Until plan of a volume's first attempt is done."""
        wait_until(lambda: any(self.work(name).glob("runs/*/1/plan.json")), f"{name} is planned")

    def wait_for_run(self, name: str, run_id: str, patience_s: float = PATIENCE_S) -> str:
        """The state of a run that has ended."""
        path = self.run_path(name, run_id)
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self.call(path)["state"]
            return state in _ENDED

        wait_until(ended, f"{run_id} of {name} ends", patience_s)
        return state

    def run(self, name: str, conf: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """A run by hand, to its end: its id and state."""
        self.wait_for_dag(name)
        run_id = self.trigger(name, conf)
        return run_id, self.wait_for_run(name, run_id)

    def runs(self, name: str) -> list[dict[str, Any]]:
        """All runs of a config's DAG, oldest first."""
        found = self.call(f"/api/v2/dags/{PREFIX}{name}/dagRuns?order_by=run_after&limit=100")
        return list(found["dag_runs"])

    def tasks(self, name: str, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
        """The tasks of a run by name and map index (-1: not mapped)."""
        found = self.call(f"{self.run_path(name, run_id)}/taskInstances?limit=1000")
        return {(t["task_id"], t["map_index"]): t for t in found["task_instances"]}

    def switch(self, dag_id: str, *, on: bool) -> None:
        """Switch a DAG on or off."""
        self.call(f"/api/v2/dags/{dag_id}", {"is_paused": not on}, method="PATCH")

    def clear_tasks(self, name: str, run_id: str, *tasks: object, **options: object) -> None:
        """Clear tasks of a run (names, or ``[name, map index]``), with what follows them."""
        asked = {
            "dry_run": False, "dag_run_id": run_id, "task_ids": list(tasks),
            "include_downstream": True, "only_failed": False, **options,
        }  # fmt: skip
        self.call(f"/api/v2/dags/{PREFIX}{name}/clearTaskInstances", asked)

    def log(self, name: str, run_id: str, task: str, number: int = 1, index: int = -1) -> str:
        """The log of a task's try, its events one a line."""
        path = f"{self.run_path(name, run_id)}/taskInstances/{task}/logs/{number}?map_index={index}"
        content = self.call(f"{path}&full_content=true")["content"]
        return "\n".join(_line(entry) for entry in content)

    def result(self, name: str, stage: str) -> dict[str, Any]:
        """What a stage's command came to in the newest attempt of a volume."""
        plans = self.work(name).glob("runs/*/*/plan.json")
        newest = max(plans, key=lambda path: path.stat().st_mtime).parent
        found: dict[str, Any] = json.loads((newest / "results" / f"{stage}.json").read_text())
        return found


def _line(entry: Any) -> str:
    """One entry of a log; Airflow keeps an error's text beside the event."""
    if not isinstance(entry, dict):
        return str(entry)
    causes = [str(e.get("exc_value", "")) for e in entry.get("error_detail") or ()]
    return " ".join([str(entry.get("event", "")), *causes])


class HeldChunk:
    """A chunk of a tiny volume that is a pipe: who reads it waits until it is released."""

    def __init__(self, layer: Path, begin: tuple[int, ...]) -> None:
        self._path = chunk_file(layer, begin)
        self._content = self._path.read_bytes()
        self._beside = self._path.with_name("pipe")
        os.mkfifo(self._beside)
        self._beside.replace(self._path)

    def release(self, *, has_reader: bool = True) -> None:
        """It is a file again; ``has_reader``: somebody waits for it, and gets its content."""
        with self._path.open("wb") if has_reader else nullcontext() as writer:
            self._beside.write_bytes(self._content)
            self._beside.replace(self._path)
            if writer is not None:
                writer.write(self._content)


def wait_until(done: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for something that must happen.

    Raises
    ------
    AssertionError
        It hasn't.
    """
    deadline = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain until {what}"
        time.sleep(0.5)


def clean_environ() -> dict[str, str]:
    """This process's environment without what another Airflow is set by."""
    return {
        k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "MAGNETON_AIRFLOW"))
    }
