"""Processes that start warm: forked from one that has imported what they need, not started anew.

An import of what a stage needs takes a third of a CPU second, and a run has a process per stage at
least. The *template* of a run imports it once; for each process it forks twice. The one between ends,
and Linux gives the process to the run, which has asked for such orphans (a "subreaper")::

    magneton run ---- template (`magneton_tasks.cli.template`)
         |               |
         |            (between)
         +---- magneton segment

So it is a child of the run like any other: its exit code, its end by a signal, its end with the run.
It does nothing before the run knows it. Whatever goes wrong with the template, processes start anew.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO, Protocol, Self

from magneton_tasks.base.worker_env import DIE_WITH_PARENT, worker_environ

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, see prctl(2)
#: Seconds for an answer: it may have to import everything first, from a slow file system.
ANSWER_S = 120.0
#: Seconds for its end, once it has closed its end of the socket.
_ENDING_S = 5.0
#: Of processes that fork, so that nothing in them starts a thread: of numpy's and scipy's OpenBLAS, which
#: no stage calls, and of the jemalloc in Arrow, which Arrow doesn't use.
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


class Process(Protocol):
    """A child of this process, as much of `subprocess.Popen` as the runner asks for."""

    @property
    def pid(self) -> int: ...

    @property
    def stdout(self) -> IO[bytes] | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Forked:
    """A child that the template forked; it may begin."""

    def __init__(self, pid: int, stdout: BinaryIO) -> None:
        self.pid, self.stdout = pid, stdout
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; negative: the signal that ended it; None: it runs."""
        return self._ended(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended.

        Raises
        ------
        subprocess.TimeoutExpired
            It hasn't within ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while (code := self._ended(0 if deadline is None else os.WNOHANG)) is None:
            if deadline is not None and time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return code

    def _ended(self, options: int) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code


class Template:
    """The template of a run, asked over a socket, which is its standard input.

    Parameters
    ----------
    command
        What starts it; it inherits the directory, limits and ignored signals of this process, as
        processes that are started anew do.

    Raises
    ------
    OSError
        It can't be started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with it)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(ANSWER_S)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    start_new_session=True,
                    env={**worker_environ(), **_NO_THREADS, DIE_WITH_PARENT: str(os.getpid())},
                )
        except OSError:
            self._socket.close()
            self._log.close()
            raise
        self._is_there = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(
        self, command: Sequence[str], environ: Mapping[str, str], say: Callable[[str], object]
    ) -> Forked | None:
        """Start a command of ours (`runners.command`) in a session of its own.

        Its standard input is empty; its output and errors come as one.

        Parameters
        ----------
        environ
            All of its environment.
        say
            Gets why there is no template any more, once.

        Returns
        -------
        Forked or None
            None: there is none, or none any more. Then nothing was started.
        """
        if not self._is_there:
            return None
        try:
            return self._forked(command, environ)
        except (OSError, ValueError) as error:
            if self._is_there:
                self._is_there = False
                say(f"workers no longer start warm, but anew: {self._why(error)}")
            return None

    def give_up(self) -> None:
        """Answer whoever waits in `fork` that nothing was started; for a signal's handler."""
        self._is_there = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it. Processes that it forked live on."""
        self._is_there = False
        self._socket.close()
        self._process.kill()  # it holds nothing that it would have to put away
        self._process.wait()
        self._log.close()

    def _forked(self, command: Sequence[str], environ: Mapping[str, str]) -> Forked:
        request = {"command": list(command), "environ": dict(environ)}
        read, write = os.pipe()
        its_go, go = os.pipe()
        described = os.memfd_create("request")
        try:
            os.write(described, json.dumps(request).encode())
            with _adopting():
                socket.send_fds(self._socket, [b"fork"], [described, write, its_go])
                pid = int(self._socket.recv(32))
            # an OSError where it is no child of this process
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            with suppress(BrokenPipeError):  # it has been killed: its exit code tells
                os.write(go, b"!")
        except BaseException:
            os.close(read)
            raise
        finally:
            for descriptor in (write, its_go, go, described):
                os.close(descriptor)
        return Forked(pid, os.fdopen(read, "rb", buffering=0))

    def _why(self, error: Exception) -> str:
        """What became of it, which has ended then; ``error``: of what was asked of it."""
        if isinstance(error, ConnectionError | ValueError):
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_ENDING_S)
                if code < 0:
                    return f"their template was ended by {signal.Signals(-code).name}"
                return f"their template ended with {code}: {self._last_line()}"
        self._process.kill()
        return f"their template can't be used ({error})"

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def started(command: Sequence[str], say: Callable[[str], object]) -> Template | None:
    """A template; None where the system has no such thing, or, which is said, it can't be started."""
    if sys.platform != "linux":
        return None
    try:
        return Template(command)
    except OSError as error:
        say(f"workers don't start warm, but anew: {error}")
        return None


@contextmanager
def _adopting() -> Iterator[None]:
    """Processes whose parent ends become children of this one meanwhile.

    Raises
    ------
    OSError
        The system has no such thing.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no orphans can be adopted")
    try:
        yield
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)
