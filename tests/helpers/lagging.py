"""A file system that shows new files late, and a clock that needs no waiting."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from magneton_tasks.base import files

#: Times of files are those of the kernel's last tick: a jump keeps this distance from them.
_TICK_S = 0.011


class FakeClock:
    """A clock that stands, however slow the machine is, and jumps when somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def clock(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class RunningClock(FakeClock):
    """A clock that runs with the real one, which files have their times from, and jumps too."""

    def __init__(self) -> None:
        super().__init__()
        self._jumps: list[tuple[float, float]] = []

    def clock(self) -> float:
        return self.at(time.time())

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(_TICK_S)
        self._jumps.append((time.time(), seconds))
        time.sleep(_TICK_S)

    def at(self, real_s: float) -> float:
        """What this clock said at a real time, such as a file's."""
        return real_s + sum(seconds for when, seconds in self._jumps if when <= real_s)


_Clock = TypeVar("_Clock", bound=FakeClock)


class LaggingDisk(files.Disk):
    """Hides files below a directory until they are some seconds old; old ones are visible."""

    def __init__(self, inner: files.Disk, seconds: float, under: Path, clock: RunningClock) -> None:
        self._inner, self._seconds, self._clock = inner, seconds, clock
        self._under = under.absolute()
        self._old = {self._identity(path) for path in self._under.rglob("*") if path.is_file()}
        self._born: dict[tuple[str, int], float] = {}
        #: how often somebody asked for a file that was hidden
        self.hidden_asks = 0

    def listdir(self, path: Path) -> list[str]:
        return [name for name in self._inner.listdir(path) if not self._hides(Path(path) / name)]

    def stat(self, path: Path) -> os.stat_result:
        self._check(path)
        return self._inner.stat(path)

    def open_read(self, path: Path) -> BinaryIO:
        self._check(path)
        return self._inner.open_read(path)

    @staticmethod
    def _identity(path: Path) -> tuple[str, int]:
        return str(path.absolute()), path.stat().st_ino

    def _hides(self, path: Path) -> bool:
        path = path.absolute()
        if not path.is_relative_to(self._under) or not path.is_file():
            return False
        identity = self._identity(path)
        if identity in self._old:
            return False
        # The first look gives the time of creation; appending later changes ctime, not this.
        born = self._born.setdefault(identity, self._clock.at(path.stat().st_ctime))
        hidden = self._clock.clock() - born < self._seconds
        self.hidden_asks += hidden
        return hidden

    def _check(self, path: Path) -> None:
        if self._hides(Path(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


@contextmanager
def fake_clock() -> Iterator[FakeClock]:
    """Sleeping in `files` takes no time while this is open, and nothing else does."""
    with _using(FakeClock()) as fake:
        yield fake


@contextmanager
def _using(fake: _Clock) -> Iterator[_Clock]:
    before = files.clock, files.sleep
    files.clock, files.sleep = fake.clock, fake.sleep
    try:
        yield fake
    finally:
        files.clock, files.sleep = before


@contextmanager
def hide_new_files(seconds: float, under: Path) -> Iterator[LaggingDisk]:
    """Files made below ``under`` from now on are invisible until they are ``seconds`` old.

    Holds for everything that reads through `files`, in this process and in those forked from it,
    whoever makes the files. Time is that of a `RunningClock`, which jumps when `files` sleeps.
    """
    with _using(RunningClock()) as clock:
        before = files.disk
        files.disk = LaggingDisk(before, seconds, under, clock)
        try:
            yield files.disk
        finally:
            files.disk = before
