"""The supervisor of a home's services: starts again whichever ends, after a pause that grows.

It's supervisord of the package supervisor (http://supervisord.org), told by a file in the home. It
needs no address and no password: files hold what is to be known of the services, in ``services/``,
which each writes when it starts (`launch`), and to stop is to end all processes of the home.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from magneton_tasks.airflow.service.processes import mark

SUPERVISOR = "supervisor"
#: A service that ends sooner, in seconds, is started again after a pause: one second longer each time.
SOON_S = 60

_HEAD = """\
[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = services/supervisor.pid
"""
_PROGRAM = """
[program:{name}]
command = {command}
autorestart = true
startsecs = {soon_s}
startretries = 1000000000
redirect_stderr = true
stdout_logfile = logs/services/{name}.log
stdout_logfile_maxbytes = 0
"""


@dataclass(frozen=True, slots=True)
class Supervision:
    """The supervisor of a home and what it looks after."""

    home: Path

    def log(self, name: str) -> Path:
        return self.home / "logs" / "services" / f"{name}.log"

    def start(self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> None:
        """Start the supervisor, and with it what it looks after.

        Parameters
        ----------
        commands
            A name and a command of each service; the command calls `began`.
        environ
            Environment of all of them.
        """
        for folder in (self._folder, self.log(SUPERVISOR).parent):
            folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "supervisor.conf"
        config.write_text(configuration(commands))
        with self.log(SUPERVISOR).open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)],
                env={**environ, **mark(self.home)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.home,
                start_new_session=True,  # Ctrl-C in this terminal isn't meant for them
            )
        self.began(SUPERVISOR, process.pid)

    def began(self, name: str, pid: int) -> None:
        """Note the process of a service, or of the supervisor: who calls this for itself is it."""
        began = psutil.Process(pid).create_time()
        note = {"pid": pid, "began": began, "starts": self.starts(name) + 1}
        temporary = self._note(name).with_suffix(".tmp")
        temporary.write_text(json.dumps(note))
        temporary.replace(self._note(name))

    def supervisor(self) -> psutil.Process | None:
        """The supervisor; None: it doesn't run."""
        return self._process(SUPERVISOR)

    def running(self) -> dict[str, psutil.Process]:
        """The services that live, by name."""
        names = sorted(path.stem for path in self._folder.glob("*.json"))
        found = {name: self._process(name) for name in names if name != SUPERVISOR}
        return {name: process for name, process in found.items() if process is not None}

    def starts(self, name: str) -> int:
        """How often a service was started since `forget`."""
        return int(self._read(name).get("starts", 0))

    def forget(self) -> None:
        """Nothing runs any more."""
        for path in self._folder.glob("*.json"):
            path.unlink(missing_ok=True)

    @property
    def _folder(self) -> Path:
        return self.home / "services"

    def _note(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, float]:
        try:
            note: dict[str, float] = json.loads(self._note(name).read_text())
        except (OSError, json.JSONDecodeError):
            return {}
        return note

    def _process(self, name: str) -> psutil.Process | None:
        note = self._read(name)
        if not note:
            return None
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(note["pid"]))
            # Not another one that got its id, and not one that has ended and wasn't collected yet.
            is_same = abs(process.create_time() - note["began"]) < 0.1
            if is_same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def configuration(commands: Mapping[str, Sequence[str]]) -> str:
    """What supervisord is told; in its files a percent sign begins a name."""
    programs = [
        _PROGRAM.format(name=name, command=shlex.join(words).replace("%", "%%"), soon_s=SOON_S)
        for name, words in commands.items()
    ]
    return _HEAD + "".join(programs)
