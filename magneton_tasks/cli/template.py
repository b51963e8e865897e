"""The template of a run: a process that has imported the code of its stages, and forks their workers.

``python -m magneton_tasks.cli.template METHOD``, started by `runners.template`, where a drawing is. Each
request that comes over its standard input makes it fork a process, which becomes ``magneton ...``.
It ends when nobody can ask any more.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from setproctitle import getproctitle, getthreadtitle, setproctitle, setthreadtitle

from magneton_tasks.base.importing import importing
from magneton_tasks.base.worker_env import die_with_parent, settle_libraries
from magneton_tasks.plan.stage_table import Method, stages_of

#: What stages import only when they need it, and nearly always do.
_LATE = (
    "magneton_tasks.cli.main",
    "magneton_tasks.cli.run.stages",
    "magneton_tasks.outcome.after_verify",
    "pyarrow.parquet",
)
_THREADS = Path("/proc/self/task")


def main() -> None:
    """Import, then fork until nobody asks; each forked process goes on in here."""
    getproctitle()  # finds out where the arguments lie, for later: the environment stands behind them
    die_with_parent()
    asked = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with importing():
        import_stages("overlap" if sys.argv[1] == "overlap" else "exact")
    request = _serve(asked)
    if request is not None:
        _be_magneton(**request)


def import_stages(method: Method) -> None:
    """Import what the stages of a method need."""
    settle_libraries()  # as `cli.main` does
    from magneton_tasks.stages.dispatch import run_of

    for stage in stages_of(method):
        run_of(stage, method)
    for name in _LATE:
        import_module(name)
    from magneton_tasks.kernels.compiled import jit

    jit.get_ready()


def _serve(asked: socket.socket) -> dict[str, Any] | None:
    """Fork what is asked for; None at the end, in a forked process what it is to be."""
    while True:
        message, descriptors, *_ = socket.recv_fds(asked, 16, 3)
        if not message:
            return None
        require_one_thread()
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            asked.close()
            os.close(told)
            return _begin(tell, *descriptors)
        os.waitpid(between, 0)  # from here on the process is a child of who asks
        os.close(tell)
        with os.fdopen(told, "rb") as pipe:
            pid = pipe.read()
        for descriptor in descriptors:
            os.close(descriptor)
        if not pid:
            sys.exit("no process could be forked")
        asked.send(pid)


def require_one_thread() -> None:
    """End this process where it has threads: what one of them holds at a fork, nobody ever gives back."""
    names = [(_THREADS / thread / "comm").read_text().strip() for thread in os.listdir(_THREADS)]
    if len(names) > 1:
        sys.exit(f"it has threads: {', '.join(names)}")


def _begin(tell: int, described: int, out: int, go: int) -> dict[str, Any]:
    """Say who this process is, and wait until whoever asked knows: else nobody could end it."""
    os.setsid()
    for number in (1, 2):
        os.dup2(out, number)
    os.write(tell, str(os.getpid()).encode())
    os.close(tell)
    if not os.read(go, 1):
        os._exit(0)
    with os.fdopen(described, "rb") as file:
        file.seek(0)
        request: dict[str, Any] = json.load(file)
    for descriptor in (out, go):
        os.close(descriptor)
    return request


def _be_magneton(command: list[str], environ: Mapping[str, str]) -> None:
    from magneton_tasks.cli.main import main as magneton
    from magneton_tasks.runners.command import arguments

    os.environ.clear()
    os.environ.update(environ)
    _show(command)
    sys.argv = [sys.argv[0], *arguments(command)]
    magneton()


def _show(command: list[str]) -> None:
    """What others see of this process is its own command, where the template's was."""
    program = getthreadtitle()
    setproctitle(" ".join(command))
    setthreadtitle(program)  # the line before has changed that, too


if __name__ == "__main__":
    main()
