"""Processes of `magneton` that start warm: forked from one that has imported all, not started anew.

A start costs more than a second of CPU, nearly all of it imports, and the tests make hundreds. With the
fixture `warm`, what is started as ``PYTHON -m magneton_tasks ...`` (by a test, or by `magneton` itself for
its workers) is a process as real as any: a child of the one that starts it, with its own arguments,
environment, directory, streams, session and terminal, which signals reach and end. It only skips the
imports: it is forked from a *template*, a child that has imported everything and has done nothing else.

::

    pytest ---- template            pytest asks; the template forks twice; the one between ends, and Linux
      |            |                gives the process to pytest, which has asked for such orphans (a
      |         (middle)            "subreaper")
      |            |
      +------ magneton run ---- template of its own, for what it starts: the template of its workers
                   |            (`runners.template`), and other commands
                   |
                   +----- magneton segment

What is about starts, imports, compiled code, entry points or the environment of Python doesn't use it. A
command that asks for what a template can't give (see `_can`) is started as ever.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import ptyprocess
import pytest

ROOT = Path(__file__).resolve().parents[2]
#: How a command begins that a template can fork.
PROGRAMS = (["-m", "magneton_tasks"], ["-m", "magneton"], ["-m", "magneton_tasks.cli.template"])
#: Variables that count when Python starts or a module is imported: where one differs from the template's,
#: the process is started as ever.
_AT_START = ("NUMBA_", "OMP_", "OPENBLAS_", "MKL_", "PYTHON", "LD_", "LANG", "LC_", "TZ", "HOME",
             "AWS_", "GOOGLE_", "STORAGE_", "MAGNETON_KERNEL_CACHE", "XDG_CACHE_HOME")  # fmt: skip
#: but not these, which the template sees to, or each process for itself
_NOT_THESE = ("NUMBA_CACHE_DIR", "OPENBLAS_NUM_THREADS", "PYTHONPATH", "PYTHONUNBUFFERED",
              "PYTHONDONTWRITEBYTECODE")  # fmt: skip
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, see prctl(2)
_IGNORABLE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))

_libc = ctypes.CDLL(None, use_errno=True)
_real_popen = subprocess.Popen


@dataclass(frozen=True)
class Request:
    """What a process is to be; its streams, and what else it inherits, come beside it."""

    command: list[str]
    environ: dict[str, str]
    folder: str
    parent: int
    is_session: bool = False
    #: whether its standard input becomes the terminal that controls it
    has_terminal: bool = False
    #: numbers under which it finds the files that it inherits, after the three streams
    inherited: tuple[int, ...] = ()
    ignored: tuple[int, ...] = ()
    umask: int = 0o022
    limits: tuple[tuple[int, tuple[int, int]], ...] = ()


class Template:
    """The template of this process, asked over a socket."""

    def __init__(self, asked: socket.socket, at_start: dict[str, str]) -> None:
        self._socket, self.at_start = asked, at_start
        self._one_at_a_time = threading.Lock()

    def start(self, request: Request, fds: Sequence[int]) -> int:
        """The process id of a new child of this process."""
        described = os.memfd_create("request")
        try:
            os.write(described, pickle.dumps(request))
            with self._one_at_a_time:
                _libc.prctl(_SUBREAPER, 1)
                try:
                    socket.send_fds(self._socket, [b"start"], [described, *fds])
                    answer = self._socket.recv(64)
                finally:
                    _libc.prctl(_SUBREAPER, 0)
        finally:
            os.close(described)
        assert answer, "the template has ended"
        return int(answer)


def at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """What of an environment a template has to have too."""
    return {k: v for k, v in environ.items() if k.startswith(_AT_START) and k not in _NOT_THESE}


#: That of this process, once there is one.
_template: Template | None = None


def _can(command: Any, environ: Mapping[str, str], folder: str) -> bool:
    if not isinstance(command, list | tuple) or _template is None or not os.path.isdir(folder):
        return False
    words = [os.fspath(word) for word in command]
    return (
        words[0] == sys.executable
        and words[1:3] in PROGRAMS
        and at_start(environ) == _template.at_start
        and environ.get("PYTHONPATH") in (None, "", str(ROOT))
    )


def _umask() -> int:
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("Umask:")).split()[1], 8)


def _request(
    command: Sequence[Any], environ: Mapping[str, str], folder: str, **more: Any
) -> Request:
    return Request(
        [os.fspath(word) for word in command],
        dict(environ),
        os.path.abspath(folder),
        os.getpid(),
        ignored=tuple(n for n in _IGNORABLE if signal.getsignal(n) is signal.SIG_IGN),
        umask=_umask(),
        limits=tuple((which, resource.getrlimit(which)) for which in _LIMITS),
        **more,
    )


class Popen(subprocess.Popen[Any]):
    """As ever, but a command of ours is forked from the template."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any,
                       pass_fds: Any, cwd: Any, env: Any, startupinfo: Any, creationflags: Any,
                       shell: Any, *rest: Any) -> None:  # fmt: skip
        pipes, (_, gid, gids, uid, umask, is_session, group) = rest[:6], rest[6:]
        environ, folder = os.environ if env is None else env, os.fspath(cwd or os.curdir)
        plain = (executable, preexec_fn, shell or None, gid, gids, uid) == (None,) * 6
        if not (plain and umask == group == -1 and close_fds and _can(args, environ, folder)):
            super()._execute_child(  # type: ignore[misc]
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
                creationflags, shell, *rest,
            )  # fmt: skip
            return
        assert _template is not None
        request = _request(args, environ, folder, is_session=is_session, inherited=tuple(pass_fds))
        own = (pipes[0], pipes[3], pipes[5])
        streams = [given if given != -1 else number for number, given in enumerate(own)]
        self.pid = _template.start(request, [*streams, *pass_fds])
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class Spawn(pexpect.spawn):  # type: ignore[type-arg]
    """`pexpect.spawn`, but a command of ours is forked from the template."""

    def _spawnpty(self, args: list[Any], **options: Any) -> ptyprocess.PtyProcess:
        command = [word.decode() if isinstance(word, bytes) else word for word in args]
        environ = os.environ if options.get("env") is None else options["env"]
        folder = os.fspath(options.get("cwd") or os.curdir)
        if not _can(command, environ, folder):
            return super()._spawnpty(args, **options)  # type: ignore[misc]
        assert _template is not None
        master, slave = os.openpty()
        try:
            rows, columns = options.get("dimensions") or (24, 80)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            request = _request(command, environ, folder, is_session=True, has_terminal=True)
            process = ptyprocess.PtyProcess(_template.start(request, [slave] * 3), master)
        finally:
            os.close(slave)
        if not options.get("echo", True):
            process.setecho(False)
        return process


def use(template: Template) -> None:
    """Let this process start its commands from a template."""
    global _template
    _template = template
    subprocess.Popen = Popen  # type: ignore[misc]


@pytest.fixture(scope="session")
def template() -> Iterator[Template | None]:
    """The template of the tests; None where the system has no such thing."""
    if sys.platform != "linux":
        yield None
        return
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environ = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # forked before there are threads
    command = [sys.executable, "-m", "tests.helpers.warm_template", str(there.fileno()), " " * 4096]
    process = _real_popen(command, cwd=ROOT, env=environ, pass_fds=[there.fileno()])
    there.close()
    with here:
        yield Template(here, at_start(os.environ))
    process.wait()


@contextmanager
def started_warm(template: Template | None) -> Iterator[None]:
    """Commands of ours start warm in here."""
    with pytest.MonkeyPatch.context() as patch:
        if template is not None:
            patch.setattr(sys.modules[__name__], "_template", template)
            patch.setattr(subprocess, "Popen", Popen)
            patch.setattr(pexpect, "spawn", Spawn)
        yield


@pytest.fixture
def warm(template: Template | None) -> Iterator[None]:
    """Commands of ours start warm in this test; for fixtures of a module there is `started_warm`."""
    with started_warm(template):
        yield
