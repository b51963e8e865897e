"""What one process at a time may do with an Airflow home: start it, stop it.

A lock of the kernel's on a file in the home, which lies on a local disk: it goes with its process,
however that ends. The file says who holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from magneton_tasks.airflow.service.processes import signal_all

_PAUSE_S = 0.2

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a turn: what it does, its process id, and when it was started (s since 1970)."""

    what: str
    pid: int
    began: float

    def __str__(self) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(self.began))
        return f"`{self.what}` (process {self.pid}, since {clock})"

    @property
    def process(self) -> psutil.Process | None:
        """Its process; None: it has ended."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.began) < 0.1:
                return process
        return None


@dataclass(frozen=True, slots=True)
class Turn:
    """A lock of a home; ``what`` its holder does, as people call it: ``make up``."""

    home: Path
    what: str

    @property
    def _file(self) -> Path:
        return self.home / f"{self.what.replace(' ', '-')}.lock"

    def holder(self) -> Holder | None:
        """Who has it; None: nobody."""
        try:
            found = Holder(*json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):  # not there, empty, or being written
            return None
        return found if found.process else None

    @contextmanager
    def taken(self, wait: Callable[[Holder], None]) -> Iterator[None]:
        """Have it while the block runs.

        Parameters
        ----------
        wait
            Called with who has it, again and again while that lasts; what it raises ends the wait.
        """
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            owner = self.home.stat()  # may be another one than root, who stops it for them
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
            while not _locked(descriptor):
                if (holder := self.holder()) is not None:
                    wait(holder)
                time.sleep(_PAUSE_S)
            me = psutil.Process()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps([self.what, me.pid, me.create_time()]).encode(), 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def told(say: Say) -> Callable[[Holder], None]:
    """Says once whom it waits for."""
    known: set[Holder] = set()

    def wait(holder: Holder) -> None:
        if holder not in known:
            known.add(holder)
            say(f"{holder} is at work: waiting for it")

    return wait


def impatient(say: Say, patience_s: float) -> Callable[[Holder], None]:
    """As `told`, and ends who takes longer than ``patience_s``."""
    tell, since = told(say), time.monotonic()

    def wait(holder: Holder) -> None:
        tell(holder)
        if time.monotonic() > since + patience_s and (process := holder.process):
            say(f"ending {holder}")
            signal_all([process], signal.SIGKILL)

    return wait
