"""One poller for each cluster and event loop, however many wait.

The queue is asked first, for all jobs at once; of those that have left it, or that failed, the
scheduler is asked for the end, which it may take a while to know. Of a job that nobody knows any
more the manifest decides (`states.GONE`).

A scheduler is asked at most once each ``poll_s``; the interval grows while nothing changes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from magneton_tasks.base.units import human_time
from magneton_tasks.errors import MagnetonError
from magneton_tasks.runners.arrays.scheduler import BusyError, Cluster
from magneton_tasks.runners.arrays.snapshot import Timing
from magneton_tasks.runners.arrays.states import GONE, Phase, TaskState

#: How much longer the interval gets while nothing changes, as a factor; and how far chance moves it.
_GROWTH = 1.3
_JITTER = 0.1


# ------------------------------------------------------------------ one job
@dataclass
class _Watched:
    """A job that somebody watches, and what is known of its indexes."""

    indexes: set[int]
    watchers: int = 0
    tasks: dict[int, TaskState] = field(default_factory=dict)
    #: since when an index has been missing from the queue
    left: dict[int, float] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return all(
            (t := self.tasks.get(i)) is not None and t.is_over and t.is_known for i in self.indexes
        )

    def words(self) -> dict[int, str]:
        """The bare states: what tells whether anything changed."""
        return {i: f"{t.phase} {t.word}" for i, t in self.tasks.items()}


class Poller:
    """Asks a cluster for all jobs that anybody in this event loop watches; see `watching`."""

    def __init__(self, cluster: Cluster, timing: Timing) -> None:
        self.title, self.timing = cluster.title, timing
        self._looks = cluster.looks(self._turn)
        self.failing_since: float | None = None
        self.warning = ""
        self.version = 0
        self._watched: dict[str, _Watched] = {}
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interval = timing.poll_s
        self._asked = float("-inf")
        self._error: MagnetonError | None = None

    # -------------------------------------------------------------- who watches
    def add(self, job: str, indexes: Iterable[int]) -> None:
        """Watch a job, too; the first watcher starts the polling."""
        watched = self._watched.setdefault(job, _Watched(set()))
        watched.indexes |= set(indexes)
        watched.watchers += 1
        self._interval = self.timing.poll_s
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._poll_on())

    async def drop(self, job: str) -> None:
        """Watch it no more; the last watcher stops the polling."""
        watched = self._watched[job]
        watched.watchers -= 1
        if not watched.watchers:
            del self._watched[job]
        if not self._watched and self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def after(self, version: int) -> int:
        """Wait for a poll newer than ``version``; its number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version > version)
        if self._error is not None:
            raise self._error
        return self.version

    def states(self, job: str) -> dict[int, TaskState]:
        return self._watched[job].tasks

    # -------------------------------------------------------------- polling
    async def _poll_on(self) -> None:
        while True:
            await self._pause()
            before = {j: w.words() for j, w in self._watched.items()}
            try:
                await self._poll()
                self.failing_since, self.warning, self._error = None, "", None
            except BusyError as error:
                self.failing_since = self.failing_since or time.monotonic()
                silent_s = time.monotonic() - self.failing_since
                since = f" (for {human_time(silent_s)})" if silent_s >= 1 else ""
                self.warning = f"{error.what}; jobs continue, and are watched again later{since}"
            except MagnetonError as error:
                self._error = error
            except OSError as error:
                self.warning = f"{self.title} can't be asked: {error}"
            changed = any(w.words() != before.get(j) for j, w in self._watched.items())
            longest = self.timing.max_poll_s
            self._interval = (
                self.timing.poll_s if changed else min(self._interval * _GROWTH, longest)
            )
            async with self._changed:
                self.version += 1
                self._changed.notify_all()

    async def _pause(self) -> None:
        """Until the next look: sooner where a new job came, but never sooner than ``poll_s``."""
        while True:
            self._wake.clear()
            jittered = self._interval * (1 + random.uniform(0, _JITTER))
            wait = self._asked + jittered - time.monotonic()
            if wait <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    async def _poll(self) -> None:
        open_jobs = sorted((j for j, w in self._watched.items() if not w.is_settled), key=int)
        if not open_jobs:
            self._asked = time.monotonic()
            return
        self._asked = time.monotonic()
        queue = await self._looks.queue(open_jobs)
        unsure: set[str] = set()
        for job in open_jobs:
            if job in self._watched and self._take_in(self._watched[job], queue.get(job, {})):
                unsure.add(job)
        if unsure:
            await self._ask_ends(sorted(unsure, key=int))

    async def _turn(self) -> None:
        """Until the scheduler may be asked once more within a poll."""
        await asyncio.sleep(max(self._asked + self.timing.poll_s - time.monotonic(), 0))
        self._asked = time.monotonic()

    def _take_in(self, watched: _Watched, queue: dict[int, TaskState]) -> bool:
        """Take in what the queue says of a job; whether somebody else must be asked."""
        unsure = False
        for index in watched.indexes:
            new, old = queue.get(index), watched.tasks.get(index)
            if old is not None and old.is_over and old.is_known:
                continue
            if new is None:
                watched.left.setdefault(index, time.monotonic())
                unsure = True
                continue
            if new.phase is Phase.INTERRUPTED and (old is None or old.word != new.word):
                # the scheduler may be about to start it again: the next look tells
                watched.tasks[index] = new.ending
                if old is None or old.reason != new.word:
                    continue
            watched.left.pop(index, None)
            watched.tasks[index] = new
            if new.is_over and not new.is_known:
                watched.left[index] = time.monotonic()
                unsure = True
        return unsure

    # -------------------------------------------------------------- ends
    async def _ask_ends(self, jobs: list[str]) -> None:
        """Ask for the ends of indexes that the queue doesn't tell, or not in full."""
        found = await self._looks.ends(jobs)
        for job in jobs:
            if job in self._watched:
                self._take_ends(self._watched[job], found.get(job, {}))

    def _take_ends(self, watched: _Watched, ends: dict[int, TaskState]) -> None:
        now = time.monotonic()
        for index, since in list(watched.left.items()):
            end = ends.get(index)
            known = watched.tasks.get(index)
            if end is not None and end.is_over:
                watched.tasks[index] = end
            elif now - since < self.timing.grace_s:
                continue
            elif known is None or not known.is_over:
                watched.tasks[index] = GONE
            else:  # the queue knew its state, and nobody knows more
                watched.tasks[index] = replace(known, exit_code=-1, signal=None)
            del watched.left[index]
