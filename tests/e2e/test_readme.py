"""README, as a newcomer types it: every block of shell as it stands, from top to bottom.

In a fresh clone, with nothing set in the environment: `make run` installs, compiles and segments.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.e2e.airflow import wait_until
from tests.e2e.newcomer import Newcomer
from tests.e2e.rest import Rest, fetched
from tests.helpers.shell_blocks import ELSEWHERE, README, commands, to_type


def test_readme_as_a_newcomer_types_it(tmp_path: Path) -> None:
    with taken(8080), Newcomer(tmp_path) as newcomer:
        seen = Seen(newcomer.project)
        for command in to_type(README):
            said = newcomer.types(command)
            for start, looks in LOOKS.items():
                if command.command.startswith(start):
                    looks(seen, command.command, said)
                    seen.looked.add(start)
    assert seen.looked == set(LOOKS), "what README no longer shows isn't looked at"
    left_out = [c for c in commands(README) if c not in newcomer.typed]
    assert [c.command for c in left_out] == list(ELSEWHERE)


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody else has this port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
        with suppress(OSError):  # somebody really has
            held.bind(("127.0.0.1", port))
            held.listen()
        yield


@dataclass(slots=True)
class Seen:
    """What was printed and is used later."""

    project: Path
    address: str = ""
    password: str = ""
    looked: set[str] = field(default_factory=set)

    def rest(self) -> Rest:
        return Rest(lambda: self.address, lambda user: self.password)


def ran(seen: Seen, command: str, said: str) -> None:
    assert "run green" in said
    assert re.search(r"VI to truth +0\.\d+ bits", said)


def is_up(seen: Seen, command: str, said: str) -> None:
    seen.address = _find(r"Airflow is up: +(http://127\.0\.0\.1:\d+)", said)
    seen.password = _find(r"user admin, password (\S+)", said)
    assert "<title>Airflow" in fetched(seen.address)
    dags = seen.rest().call("/api/v2/dags")["dags"]  # logs in
    names = {d["dag_display_name"] for d in dags}
    assert {"instance_segmentation.volume", "instance_segmentation.cortex"} <= names


def triggered(seen: Seen, command: str, said: str) -> None:
    dag_id = command.split()[3]
    rest = seen.rest()

    def state() -> str:
        (run,) = rest.call(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return str(run["state"])

    wait_until(lambda: state() in ("success", "failed"), f"the run of {dag_id} ends")
    assert state() == "success"
    tasks = rest.call(f"/api/v2/dags/{dag_id}/dagRuns/~/taskInstances")["task_instances"]
    done = {t["task_id"] for t in tasks if t["state"] == "success"}
    assert {"pool", "cut", "apply", "verify"} <= done, "the threshold is another one"
    assert not {"segment", "faces", "round0"} & done, "a cut needs no block again"


def is_down(seen: Seen, command: str, said: str) -> None:
    assert "Airflow is down" in said
    home = str(seen.project / "airflow_home")
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("AIRFLOW_HOME") == home:
                left.append(process)
    assert not left


#: What is looked at after a command that begins so, beside its exit code.
LOOKS: dict[str, Callable[[Seen, str, str], None]] = {
    "make run": ran,
    "magneton evaluate": lambda seen, command, said: _has(said, "VI", "ARAND"),
    "magneton config new": lambda seen, command, said: _has(said, "wrote volume.yaml"),
    "magneton status": lambda seen, command, said: _has(said, "verify  "),
    "make up": is_up,
    "scripts/airflow dags trigger": triggered,
    "scripts/airflow dags list-runs": lambda seen, command, said: _has(said, "success"),
    "make down": is_down,
}


def _has(said: str, *words: str) -> None:
    for word in words:
        assert word in said, said


def _find(pattern: str, said: str) -> str:
    match = re.search(pattern, said)
    assert match, said
    return match[1]
