"""Airflow's services on this machine: start, look, stop (`make up`, `make down`).

A supervisor starts them and starts again what ends (`supervision`, `launch`). Each is a process group
of its own, with a log file in the home. To stop is to end all processes of the home (`processes`),
whoever started them and whatever was killed before. One at a time does either (`turns`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from magneton_tasks.airflow.service import database as databases
from magneton_tasks.airflow.service import health as healths
from magneton_tasks.airflow.service import home as homes
from magneton_tasks.airflow.service import processes
from magneton_tasks.airflow.service.ports import free_ports
from magneton_tasks.airflow.service.supervision import SUPERVISOR, Supervision
from magneton_tasks.airflow.service.turns import Say, Turn, impatient, told
from magneton_tasks.base.worker_env import is_of_make_up
from magneton_tasks.config.places import CONFIGS_VARIABLE, configs_places
from magneton_tasks.config.roots import ROOTS_VARIABLE
from magneton_tasks.errors import OutputError, TemporaryError

FIRST = "api-server"
#: The services with their arguments. Log servers would listen on all interfaces, see task_logs.
SERVICES = {
    FIRST: ["--proxy-headers"],
    "scheduler": ["--skip-serve-logs"],
    "dag-processor": [],
    "triggerer": ["--skip-serve-logs"],
}
#: How often a service may end while `make up` waits for it.
FAILED_STARTS = 3
#: How long the services may take to become healthy, in seconds: about 40 s on two idle cores.
START_WAIT_S = 300
#: How long a stopped service may take for its own clean-up, in seconds, before it is killed.
STOP_WAIT_S = 20


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
        return self.supervision.log(name)

    # ------------------------------------------------------------------------------ state

    def state(self) -> dict[str, Any]:
        """The port, and what `make up` was given; empty before the first start."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return state

    def _save(self, state: Mapping[str, Any]) -> None:
        temporary = self.state_file.with_suffix(".tmp")
        temporary.write_text(json.dumps(state, indent=1))
        temporary.replace(self.state_file)

    @property
    def supervision(self) -> Supervision:
        return Supervision(self.home)

    def running(self) -> dict[str, psutil.Process]:
        """The services that live, by name."""
        return self.supervision.running()

    def is_up(self) -> bool:
        """Whether anything of it runs, be it the supervisor alone."""
        return bool(self.running()) or self.supervision.supervisor() is not None

    @property
    def port(self) -> int:
        """Of the api-server."""
        return int(self.state()["ports"]["api"])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def passwords(self) -> dict[str, str]:
        """Of the simple logins, by user."""
        return dict(json.loads(self.password_file.read_text()))

    def password(self, user: str = "admin") -> str:
        return self.passwords()[user]

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
        tell = told(say)
        with self.down.taken(tell):
            pass
        with self.up.taken(tell):
            if before is not None:
                before()
            if not self.healthy():
                self._start(say)

    def _start(self, say: Say) -> None:
        if self.supervision.supervisor() is None:
            if self.running():
                say("the supervisor has ended: starting all services again")
            self._end_all(say)
            self._save({"ports": self._choose_ports(), "given": self._given()})
            environ = self.environ()
            say("preparing Airflow's database")
            self._migrate(environ)
            launch = [sys.executable, "-P", "-m", "magneton_tasks.airflow.service.launch"]
            self.supervision.start({name: [*launch, name] for name in SERVICES}, environ)
            say(f"starting {', '.join(SERVICES)} (about 40 s)")
        self._wait("it answers", lambda: self.health() is not None)
        if self.password_file.exists():  # of the simple logins; Airflow writes it for all to read
            self.password_file.chmod(0o600)
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
        pools = [sys.executable, "-m", "magneton_tasks.airflow.service.pools"]
        for command in ([sys.executable, "-m", "airflow", "db", "migrate"], pools):
            with log.open("ab") as out:
                done = subprocess.run(
                    command,
                    env={**environ, **processes.mark(self.home)},
                    stdout=out,
                    stderr=out,
                    cwd=self.home,
                    check=False,
                )
            self._check_not_stopped()
            if done.returncode != 0:
                raise OutputError(f"Airflow's database could not be prepared; see {log}")

    def health(self) -> dict[str, Any] | None:
        """What the api-server says of all services; None while it doesn't answer."""
        return healths.asked(self.address)

    def healthy(self) -> bool:
        """Whether all services run and say so."""
        return not self.problems()

    def problems(self) -> list[str]:
        """What is wrong with the services, each in a line; none: all are healthy."""
        if not self.is_up():
            return ["Airflow isn't running"]
        problems = []
        if self.supervision.supervisor() is None:
            problems.append(
                "the supervisor isn't running: no service is restarted when it ends; make up starts all again"
            )
        missing = SERVICES.keys() - self.running().keys()
        problems += [f"{name} isn't running; see {self.log(name)}" for name in sorted(missing)]
        health = self.health()
        if health is None:
            return [*problems, f"{FIRST} doesn't answer; see {self.log(FIRST)}"]
        return [*problems, *healths.complaints(health)]

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_WAIT_S
        before = {name: self.supervision.starts(name) for name in SERVICES}
        while not done():
            self._check_not_stopped()
            for name, starts in before.items():
                if self.supervision.starts(name) > starts + FAILED_STARTS:
                    raise OutputError(
                        f"Airflow's {name} ends whenever it is started; see {self.log(name)}",
                        "it is tried again and again, until make down",
                    )
            if self.supervision.supervisor() is None:
                raise OutputError(f"Airflow's supervisor ended; see {self.log(SUPERVISOR)}")
            if time.monotonic() > deadline:
                raise OutputError(
                    f"Airflow wasn't ready in {START_WAIT_S} s (waiting until {what}); "
                    f"see {self.log(FIRST).parent}"
                )
            time.sleep(0.5)

    def _check_not_stopped(self) -> None:
        if (holder := self.down.holder()) is not None:
            raise TemporaryError(f"{holder} stops Airflow meanwhile", "make up, to start it again")

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
        with self.down.taken(told(say)):
            found = self._end_all(say)
            # A `make up` that is at work ends by itself now; one that doesn't, a stopped job of a
            # terminal's, would go on later.
            with self.up.taken(impatient(say, STOP_WAIT_S)):
                return self._end_all(say) or found

    def _end_all(self, say: Say) -> bool:
        alive, family = self.running(), processes.of_home(self.home)
        if family:
            say(f"stopping {', '.join(alive) or 'what killed services left behind'}")
            # The scheduler first, so that no task starts any more.
            order = sorted(alive, key=lambda name: (name != "scheduler", name == FIRST))
            if (supervisor := self.supervision.supervisor()) is not None:
                # Not asked: it would end the services at its pace, and has nothing to tidy up.
                processes.signal_all([supervisor], signal.SIGKILL)
            left = processes.end(self.home, [alive[name] for name in order], STOP_WAIT_S / 2)
            if left:
                pids = ", ".join(str(p.pid) for p in sorted(left, key=lambda p: p.pid))
                raise OutputError(
                    f"processes {pids} of {self.home} don't end",
                    "they wait for a disk or a network: run make down again when it answers",
                )
        self.supervision.forget()
        return bool(family)
