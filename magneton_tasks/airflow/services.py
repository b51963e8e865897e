"""Airflow's services on this machine: start, look, stop (`make up`, `make down`).

Each service is a process group of its own, with a log file in the home; ``services.json`` keeps
their process ids and start times, so that a process that got a recycled id is never touched. To stop
is to end all processes of the home (`processes`), whoever started them and whatever was killed before.
The api-server comes first: tasks that start before it listens fail.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from magneton_tasks.airflow import database as databases
from magneton_tasks.airflow import home as homes
from magneton_tasks.airflow import processes
from magneton_tasks.airflow.turns import Holder, Turn
from magneton_tasks.errors import OutputError, TemporaryError
from magneton_tasks.places import CONFIGS_VARIABLE, configs_places
from magneton_tasks.roots import ROOTS_VARIABLE
from magneton_tasks.worker_env import is_of_make_up

FIRST = "api-server"
#: The others with their arguments. Their log servers would listen on all interfaces, see task_logs.
OTHERS = {
    "scheduler": ["--skip-serve-logs"],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
}
#: How long the services may take to become healthy, in seconds: about 40 s on two idle cores.
START_WAIT_S = 300
#: How long a stopped service may take for its own clean-up, in seconds, before it is killed.
STOP_WAIT_S = 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one home.

    Attributes
    ----------
    home
        The ``AIRFLOW_HOME``; ``services.json`` and ``logs/services/`` lie in it.
    root
        The project, whose ``dags/`` they serve.
    """

    home: Path
    root: Path

    @property
    def state_file(self) -> Path:
        return self.home / "services.json"

    @property
    def password_file(self) -> Path:
        return self.home / "simple_auth_manager_passwords.json.generated"

    @property
    def up(self) -> Turn:
        return Turn(self.home, "make up")

    @property
    def down(self) -> Turn:
        return Turn(self.home, "make down")

    def log(self, name: str) -> Path:
        return self.home / "logs" / "services" / f"{name}.log"

    # ------------------------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """Ports, and process id and start time of each service; empty before the first start."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def _save(self, state: Mapping[str, Any]) -> None:
        temporary = self.state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(self.state_file)

    def running(self) -> dict[str, psutil.Process]:
        """The services that live, by name."""
        found = {}
        for name, (pid, started) in self.state().get("processes", {}).items():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - started) < 0.1 and process.status() != "zombie":
                    found[name] = process
        return found

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.state()['ports']['api']}"

    def password(self, user: str = "admin") -> str:
        passwords: dict[str, str] = json.loads(self.password_file.read_text())
        return passwords[user]

    # ------------------------------------------------------------------------------ start

    def start(self, say: Say = print, before: Callable[[], None] | None = None) -> None:
        """Start what doesn't run yet and wait until all of it is healthy.

        Who comes while another process does so waits for it, and finds it done.

        Parameters
        ----------
        before
            Done first, when nobody else starts or stops.

        Raises
        ------
        OutputError
            A service ended, or wasn't healthy in time; names its log.
        TemporaryError
            It was stopped meanwhile.
        """
        tell = _told(say)
        with self.down.taken(tell):
            pass
        with self.up.taken(tell):
            if before is not None:
                before()
            if not self.healthy():
                self._start(say)

    def _start(self, say: Say) -> None:
        alive = self.running()
        if FIRST not in alive:
            # The ports belong to the api-server's start: whatever runs without it would not find it.
            self._end_all(say)
            self._save({"ports": self._choose_ports(), "processes": {}, "given": self._given()})
            alive = {}
        environ = self.environ()
        if not alive:
            say("preparing Airflow's database")
            self._migrate(environ)
        ports = self.state()["ports"]
        if FIRST not in alive:
            # Only a proxy of this machine reaches it, and says for whom it asks.
            asked = ["--host", "127.0.0.1", "--port", str(ports["api"]), "--proxy-headers"]
            self._launch(FIRST, asked, environ)
            say(f"starting the {FIRST} (about 20 s)")
        self._wait("it answers", lambda: self._health() is not None)
        if self.password_file.exists():  # of the simple logins; Airflow writes it for all to read
            self.password_file.chmod(0o600)
        for name, arguments in OTHERS.items():
            if name not in alive:
                self._launch(name, arguments, environ)
        say(f"starting {', '.join(OTHERS)}")
        self._wait("all services are healthy", self.healthy)

    def _given(self) -> dict[str, str]:
        given = {k: v for k in (CONFIGS_VARIABLE, ROOTS_VARIABLE) if (v := os.environ.get(k))}
        if CONFIGS_VARIABLE in given:  # from here, relative paths lead there
            given[CONFIGS_VARIABLE] = configs_places(self.root, given)
        return given

    def environ(self) -> dict[str, str]:
        """The environment of the services: this one's, with Airflow's settings and the ports."""
        ours = {
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            # `airflow` and `python` of this environment, whether it was activated or not.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # A proxy has no business between these processes.
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        # AIRFLOW__... of the user's shell are meant for another installation.
        theirs = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith("AIRFLOW__") and not is_of_make_up(k)
        }
        airflow = homes.settings(self.home, self.root, databases.setting(self.home))
        # What `make up` was given holds for whoever deals with these services from another shell.
        given = self.state().get("given", {})
        return {"AIRFLOW__API__BASE_URL": self.address, **theirs, **airflow, **given, **ours}

    def _choose_ports(self) -> dict[str, int]:
        given = homes.given_settings(self.home).get(homes.PORT)
        return {"api": int(given)} if given else free_ports("api")

    def _migrate(self, environ: Mapping[str, str]) -> None:
        log = self.log("migrate")
        log.parent.mkdir(parents=True, exist_ok=True)
        pools = [sys.executable, "-m", "magneton_tasks.airflow.pools"]
        for command in ([sys.executable, "-m", "airflow", "db", "migrate"], pools):
            with log.open("ab") as out:
                done = subprocess.run(
                    command, env={**environ, **processes.mark(self.home)},
                    stdout=out, stderr=out, cwd=self.home, check=False,
                )  # fmt: skip
            self._check_not_stopped()
            if done.returncode != 0:
                raise OutputError(f"Airflow's database could not be prepared; see {log}")

    def _launch(self, name: str, arguments: list[str], environ: Mapping[str, str]) -> None:
        log = self.log(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", name, *arguments],
                env={**environ, **processes.mark(self.home)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.home,
                start_new_session=True,  # Ctrl-C in this terminal isn't meant for them
            )
        state = self.state()
        state["processes"][name] = (process.pid, psutil.Process(process.pid).create_time())
        self._save(state)

    def _health(self) -> dict[str, Any] | None:
        """What the api-server says of all services; None while it doesn't answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.address}/api/v2/monitor/health", timeout=10) as answer:
                health: dict[str, Any] = json.load(answer)
        except (OSError, urllib.error.URLError, json.JSONDecodeError):
            return None
        return health

    def healthy(self) -> bool:
        """Whether all services run and say so."""
        return not self.problems()

    def problems(self) -> list[str]:
        """What is wrong with the services, each in a line; none: all are healthy."""
        if not self.running():
            return ["Airflow isn't running"]
        missing = {FIRST, *OTHERS} - self.running().keys()
        problems = [f"{name} isn't running; see {self.log(name)}" for name in sorted(missing)]
        health = self._health()
        if health is None:
            return [*problems, f"{FIRST} doesn't answer; see {self.log(FIRST)}"]
        for name in ("metadatabase", "scheduler", "dag_processor", "triggerer"):
            status = (health.get(name) or {}).get("status")
            if status != "healthy":
                problems.append(f"{name} says: {status}")
        return problems

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_WAIT_S
        while not done():
            self._check_not_stopped()
            dead = self.state()["processes"].keys() - self.running().keys()
            if dead:
                name = min(dead)
                raise OutputError(f"Airflow's {name} ended at its start; see {self.log(name)}")
            if time.monotonic() > deadline:
                raise OutputError(
                    f"Airflow wasn't ready in {START_WAIT_S} s (waiting until {what}); "
                    f"see {self.log(FIRST).parent}"
                )
            time.sleep(0.5)

    def _check_not_stopped(self) -> None:
        if (holder := self.down.holder()) is not None:
            raise TemporaryError(f"{holder} stops Airflow meanwhile", "make up, to start it again")

    # ------------------------------------------------------------------------------ stop

    def stop(self, say: Say = print) -> bool:
        """End every process of this home, with the tasks that run under it.

        Returns
        -------
        Whether there was any.

        Raises
        ------
        OutputError
            A process can't be ended.
        """
        with self.down.taken(_told(say)):
            found = self._end_all(say)
            # A `make up` that is at work ends by itself now; one that doesn't, a stopped job of a
            # terminal's, would go on later.
            with self.up.taken(_impatient(say)):
                return self._end_all(say) or found

    def _end_all(self, say: Say) -> bool:
        alive, family = self.running(), processes.of_home(self.home)
        if family:
            say(f"stopping {', '.join(alive) or 'what killed services left behind'}")
            # The scheduler first, so that no task starts any more.
            order = sorted(alive, key=lambda name: (name != "scheduler", name == FIRST))
            left = processes.end(self.home, [alive[name] for name in order], STOP_WAIT_S / 2)
            if left:
                pids = ", ".join(str(p.pid) for p in sorted(left, key=lambda p: p.pid))
                raise OutputError(
                    f"processes {pids} of {self.home} don't end",
                    "they wait for a disk or a network: make down again when that answers",
                )
        if state := self.state():
            self._save({**state, "processes": {}})
        return bool(family)


def _told(say: Say) -> Callable[[Holder], None]:
    """Says once whom it waits for."""
    known: set[Holder] = set()

    def wait(holder: Holder) -> None:
        if holder not in known:
            known.add(holder)
            say(f"{holder} is at work: waiting for it")

    return wait


def _impatient(say: Say) -> Callable[[Holder], None]:
    """As `_told`, and ends who takes too long."""
    tell, since = _told(say), time.monotonic()

    def wait(holder: Holder) -> None:
        tell(holder)
        if time.monotonic() > since + STOP_WAIT_S and (process := holder.process):
            say(f"ending {holder}")
            processes.signal_all([process], signal.SIGKILL)

    return wait


def free_ports(*names: str) -> dict[str, int]:
    """A free port on loopback for each name; held together, so that all differ."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in names]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return {name: int(held.getsockname()[1]) for name, held in zip(names, sockets, strict=True)}
    finally:
        for held in sockets:
            held.close()
