"""The database's password is in no process's arguments or environment; what tasks start gets no connection.

`make up` is typed on a terminal, with a real PostgreSQL, and all of the machine's processes are
searched from then on until `make down` is over.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pexpect
import psutil
import pytest

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.config import places
from magneton_tasks.runners.command import PROGRAM
from tests.e2e.airflow import PATIENCE_S, ROOT, Airflow, HeldChunk, clean_environ, wait_until
from tests.e2e.postgres import postgres
from tests.e2e.test_faults import LAST_LAYER, worker_of
from tests.helpers.shell_blocks import shown_to

#: How often all processes are looked at, in seconds: the shortest that Airflow starts lives longer.
PAUSE_S = 0.1
#: What make is told beside its target: all is installed.
MAKE = ("-C", str(ROOT), "-o", ".venv/.installed", f"PYTHON={sys.executable}")
#: What every worker of ours is started by.
OURS = "\0".join([*PROGRAM[1:], ""]).encode()


@dataclass
class Search:
    """Which processes showed a text, by what they were started with."""

    password: tuple[bytes, ...]
    connection: bytes
    #: processes that have shown the password
    found: set[str] = field(default_factory=set)
    #: workers of ours that have shown a connection, and all workers
    told: set[str] = field(default_factory=set)
    workers: set[int] = field(default_factory=set)

    def look(self) -> bool:
        """Search the arguments and the environments of all processes; whether any shows the password."""
        for pid in psutil.pids():
            with suppress(OSError):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                name = f"{pid} {arguments.split(bytes(1))}"
                if any(p in arguments or p in environ for p in self.password):
                    self.found.add(name)
                if OURS in arguments:
                    self.workers.add(pid)
                    if self.connection in environ:
                        self.told.add(name)
        return bool(self.found)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Look again and again."""
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(PAUSE_S):
                self.look()

        thread = threading.Thread(target=repeat)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@dataclass(frozen=True, slots=True)
class Login:
    """An empty database that was made as the page shows it, and a password that nobody else knows.

    Attributes
    ----------
    database
        What `make up` is told, as the page shows it: an address without a password.
    environ
        By which whoever types that gets to the server of this test.
    """

    database: str
    password: str
    environ: dict[str, str]


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Login]:
    (shown,) = shown_to(__file__, "operating.md")
    *lines, up = [line for _, line in shown.lines]
    _, _, database = up.partition("#")[0].split()
    # The server's own processes show the password that it was started with.
    password = f"p@ss/w:rd%{secrets.token_hex(8)}"
    with postgres() as server:
        # Who administers this machine's server stands for that of the test's.
        command = tmp_path / "bin" / "sudo"
        command.parent.mkdir()
        become = 'runuser -u postgres -- "$@"' if os.geteuid() == 0 else '"$@"'
        command.write_text(
            f'#!/bin/sh\n[ "$1 $2" = "-u postgres" ] || exit 64\nshift 2\ncd /\n'
            f"export PGHOST={server.folder} PGPORT={server.port}\nexec {become}\n"
        )
        command.chmod(0o755)
        path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        emptied = ["sudo -u postgres dropdb airflow", "sudo -u postgres dropuser airflow"]
        child = pexpect.spawn(
            "bash",
            ["-exc", "\n".join([*emptied, *lines])],
            env={**os.environ, "PATH": path},
            timeout=PATIENCE_S,
            encoding="utf-8",
        )
        for question in ("Enter password for new role: ", "Enter it again: "):
            child.expect(question)
            child.sendline(password)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0, child.before
        yield Login(database, password, {"PGPORT": server.port})


def test_no_process_shows_a_secret(
    login: Login, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    password = login.password
    connection, bucket = f"smtp://me:{secrets.token_hex(8)}@localhost", secrets.token_hex(8)
    airflow = Airflow(tmp_path / "air flow")
    request.addfinalizer(airflow.stop)
    (airflow.home / homes.SETTINGS_FILE).write_text(f"AIRFLOW_CONN_SMTP_DEFAULT={connection}\n")
    airflow.write_volume("tiny", "local: {workers: 1}\n", sizes="many")
    environ = {
        **clean_environ(),
        **login.environ,
        homes.HOME_VARIABLE: str(airflow.home),
        places.CONFIGS_VARIABLE: str(airflow.configs),
        "AIRFLOW_CONN_OTHER": connection,
        "AWS_SECRET_ACCESS_KEY": bucket,
        "LD_LIBRARY_PATH": "/nowhere",
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    search = Search((password.encode(), quote(password, safe="").encode()), connection.encode())
    sees_what_is_there(search, password)
    refused = subprocess.run(
        ["make", *MAKE, "up", login.database],
        env={**environ, "PGPASSWORD": password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no password supplied" in refused.stderr and "pgpass" in refused.stderr
    assert not databases.kept_file(airflow.home).exists()
    with search.going_on():
        told = make(environ, "up", login.database, password="mistyped", code=2)
        assert "password authentication failed" in told
        make(environ, "up", login.database, password=password)
        assert make(environ, "up", login.database).count("Airflow is up") == 1, "asks once"
        airflow.wait_for_dag("tiny")
        run_id = airflow.trigger("tiny")
        airflow.wait_planned("tiny")
        chunk = HeldChunk(airflow.volumes / "tiny" / "affinity", LAST_LAYER)
        worker: list[psutil.Process] = []

        def waits() -> bool:
            with suppress(AssertionError):
                worker.append(worker_of(airflow.work("tiny")))
            return bool(worker)

        wait_until(waits, "a worker of segment waits for the chunk")
        given = worker[0].environ()
        chunk.release()
        assert airflow.wait_for_run("tiny", run_id) == "success"
        make(environ, "down")
    assert not search.found, "these show the database's password"
    assert search.workers and not search.told, "these show a connection"
    airflows = {n for n in given if "AIRFLOW" in n} - {homes.HOME_VARIABLE}
    assert not airflows | (given.keys() & {"DB", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"})
    for name in ("AWS_SECRET_ACCESS_KEY", "LD_LIBRARY_PATH", "HTTPS_PROXY"):
        assert given[name] == environ[name], "what volumes and libraries need is passed on"
    assert databases.kept_file(airflow.home).stat().st_mode & 0o777 == 0o600


def sees_what_is_there(search: Search, password: str) -> None:
    """The search finds a process with the password, as argument or in its environment, then forgets it."""
    for arguments, environ in (([password], {}), ([], {"DB": f"postgresql://u:{password}@h/d"})):
        code = "import time; time.sleep(600)"
        with subprocess.Popen([sys.executable, "-c", code, *arguments], env=environ) as shown:
            wait_until(search.look, "the process shows it")
            shown.kill()
        search.found.clear()


def make(
    environ: dict[str, str], *arguments: str, password: str | None = None, code: int = 0
) -> str:
    """What make prints on a terminal; where it asks for a password, a person types it."""
    child = pexpect.spawn(
        "make", [*MAKE, *arguments], env=environ, timeout=PATIENCE_S, encoding="utf-8"
    )
    if password is not None:
        child.expect("Password of airflow at .*: ")
        child.sendline(password)
    child.expect(pexpect.EOF)
    told = str(child.before)
    child.close()
    assert child.exitstatus == code, told
    assert password is None or password not in told
    return told
