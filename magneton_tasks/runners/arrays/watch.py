"""Watching jobs: one poller for each cluster and event loop, however many wait.

``squeue`` is asked first, for all jobs at once and by their ids; of those that have left it, or that
failed, ``sacct`` tells the end, which it may take a while to know. Where there's no accounting,
``scontrol show job`` does, and of a job that nobody knows any more the manifest decides (`GONE`).

slurmctld is asked at most once each ``poll_s``; the interval grows while nothing changes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from weakref import WeakKeyDictionary

from magneton_tasks.base.units import human_time
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.runners.slurm import states as outputs
from magneton_tasks.runners.slurm.programs import Slurm, SlurmBusyError
from magneton_tasks.runners.slurm.states import (
    COMPLETED,
    GONE,
    REQUEUED,
    SACCT,
    SCONTROL,
    SQUEUE,
    States,
    TaskState,
    split,
)

#: How much longer the interval gets while nothing changes, as a factor; and how far chance moves it.
_GROWTH = 1.3
_JITTER = 0.1
_UNKNOWN_ID = "Invalid job id"
_NO_ACCOUNTING = "accounting storage is disabled"
#: Why a job waits that will hardly ever start.
STUCK = (
    "PartitionTimeLimit", "MaxMemPerLimit", "BadConstraints", "PartitionNodeLimit", "InvalidAccount",
    "InvalidQOS", "AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit",
    "QOSMaxMemoryPerJob", "AssocMaxMemPerJob", "JobHeldUser", "JobHeldAdmin", "launch failed requeued held",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds: intervals between looks, patience with sacct, and with Slurm as a whole."""

    poll_s: float = 10.0
    max_poll_s: float = 120.0
    grace_s: float = 120.0
    give_up_s: float = 7200.0

    @classmethod
    def of_config(cls, config: RunConfig) -> Self:
        """As a config says."""
        s = config.slurm
        return cls(s.poll_s, s.max_poll_s, s.grace_s, s.give_up_s)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of jobs at a moment: states by job id and index; ``warning``: Slurm is silent."""

    jobs: States
    warning: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether there is something to decide: an array ended, or more than half of one failed."""
        for tasks in self.jobs.values():
            over = [t for t in tasks.values() if t.is_over]
            failed = [t for t in over if t.state != COMPLETED and t.is_known]
            if tasks and (len(over) == len(tasks) or 2 * len(failed) > len(tasks)):
                return True
        return False

    def count(self, which: Callable[[TaskState], bool]) -> int:
        """How many indexes are in a state."""
        return sum(which(t) for tasks in self.jobs.values() for t in tasks.values())

    @property
    def stuck(self) -> dict[str, str]:
        """Jobs that wait for what will hardly come, and why."""
        return {
            job: t.reason
            for job, tasks in self.jobs.items()
            for t in tasks.values()
            if t.state == "PENDING" and t.reason.startswith(STUCK)
        }

    def to_data(self) -> dict[str, Any]:
        """Plain JSON, indexes as ranges."""
        return {"jobs": outputs.to_data(self.jobs), "warning": self.warning}

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Self:
        """What `to_data` wrote."""
        return cls(outputs.of_data(data["jobs"]), data["warning"])


# ------------------------------------------------------------------ one job
@dataclass
class _Watched:
    """A job that somebody watches, and what is known of its indexes."""

    indexes: set[int]
    watchers: int = 0
    tasks: dict[int, TaskState] = field(default_factory=dict)
    #: since when an index has been missing from squeue, and how often one looked requeued
    left: dict[int, float] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return all(
            (t := self.tasks.get(i)) is not None and t.is_over and t.is_known for i in self.indexes
        )

    def words(self) -> dict[int, str]:
        """The bare states: what tells whether anything changed."""
        return {i: t.state for i, t in self.tasks.items()}


class Poller:
    """Asks Slurm for all jobs that anybody in this event loop watches; see `watching`."""

    def __init__(self, slurm: Slurm, timing: Timing) -> None:
        self.slurm, self.timing = slurm, timing
        self.failing_since: float | None = None
        self.warning = ""
        self.version = 0
        self._watched: dict[str, _Watched] = {}
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._interval = timing.poll_s
        self._asked = float("-inf")
        self._has_sacct = True
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
            except SlurmBusyError as error:
                self.failing_since = self.failing_since or time.monotonic()
                silent_s = time.monotonic() - self.failing_since
                since = f" (for {human_time(silent_s)})" if silent_s >= 1 else ""
                self.warning = f"{error.what}; jobs continue, and are watched again later{since}"
            except MagnetonError as error:
                self._error = error
            except OSError as error:
                self.warning = f"Slurm can't be asked: {error}"
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
        queue = await self._squeue(open_jobs)
        unsure: set[str] = set()
        for job in open_jobs:
            if job in self._watched and self._take_in(self._watched[job], queue.get(job, {})):
                unsure.add(job)
        if unsure:
            await self._ask_ends(sorted(unsure, key=int))

    async def _squeue(self, jobs: list[str]) -> States:
        self._asked = time.monotonic()
        answer = await self.slurm.run_async((*SQUEUE, f"--jobs={','.join(jobs)}"))
        if answer.code != 0 and _UNKNOWN_ID not in answer.err:
            raise SlurmBusyError(f"squeue: {answer.err.strip() or answer.code}")
        return outputs.parse_squeue(answer.out)

    def _take_in(self, watched: _Watched, queue: dict[int, TaskState]) -> bool:
        """Take in what squeue says of a job; whether somebody else must be asked."""
        unsure = False
        for index in watched.indexes:
            new, old = queue.get(index), watched.tasks.get(index)
            if old is not None and old.is_over and old.is_known:
                continue
            if new is None:
                watched.left.setdefault(index, time.monotonic())
                unsure = True
                continue
            if new.state in REQUEUED and (old is None or old.state != new.state):
                # Slurm may be about to start it again: the next look tells
                watched.tasks[index] = TaskState("COMPLETING", new.state, new.node)
                if old is None or old.reason != new.state:
                    continue
            watched.left.pop(index, None)
            watched.tasks[index] = new
            if new.is_over and not new.is_known:
                watched.left[index] = time.monotonic()
                unsure = True
        return unsure

    # -------------------------------------------------------------- ends
    async def _ask_ends(self, jobs: list[str]) -> None:
        """Ask for the ends of indexes that squeue doesn't tell, or not in full."""
        found = await self._sacct(jobs) if self._has_sacct else None
        for job in jobs:
            ends = (await self._scontrol(job) if found is None else found).get(job, {})
            if job in self._watched:
                self._take_ends(self._watched[job], ends)

    async def _sacct(self, jobs: list[str]) -> States | None:
        """None: accounting can't be asked."""
        try:
            answer = await self.slurm.run_async((*SACCT, f"--jobs={','.join(jobs)}"))
        except SlurmBusyError:
            return None  # slurmdbd is down
        except ConfigError:
            self._has_sacct = False
            return None
        if answer.code != 0 and _NO_ACCOUNTING in answer.err:
            self._has_sacct = False
        return outputs.parse_sacct(answer.out) if answer.code == 0 else None

    async def _scontrol(self, job: str) -> States:
        """The same of slurmctld: not before its turn."""
        await asyncio.sleep(max(self._asked + self.timing.poll_s - time.monotonic(), 0))
        self._asked = time.monotonic()
        answer = await self.slurm.run_async((*SCONTROL, job))
        return outputs.parse_scontrol(answer.out)

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
                watched.tasks[index] = TaskState(GONE)
            else:  # squeue knew its state, and nobody knows more
                watched.tasks[index] = TaskState(
                    known.state, known.reason, known.node, -1, None, known.elapsed_s
                )
            del watched.left[index]


# ------------------------------------------------------------------ watching
_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Slurm, Poller]] = WeakKeyDictionary()


class Watch:
    """Jobs that one caller waits for; made by `watching`."""

    def __init__(self, poller: Poller, jobs: dict[str, list[int]]) -> None:
        self._poller, self._jobs = poller, jobs
        self._version = poller.version

    async def next(self) -> Snapshot:
        """What the next poll finds.

        Raises
        ------
        SlurmBusyError
            Slurm hasn't answered for longer than ``give_up_s``.
        """
        self._version = await self._poller.after(self._version)
        poller = self._poller
        if poller.failing_since is not None:
            silent = time.monotonic() - poller.failing_since
            if silent > poller.timing.give_up_s:
                raise SlurmBusyError(
                    poller.warning,
                    "rerun once Slurm answers; jobs in the queue continue, and are found",
                )
        return Snapshot(
            {j: self._of(j, indexes) for j, indexes in self._jobs.items()}, poller.warning
        )

    def _of(self, job: str, indexes: list[int]) -> dict[int, TaskState]:
        known = self._poller.states(job)
        pending = TaskState("PENDING")
        found = {i: known.get(i, pending) for i in indexes}
        # what isn't known in full yet isn't over yet
        return {
            i: t if not t.is_over or t.is_known else TaskState("COMPLETING", t.state, t.node)
            for i, t in found.items()
        }


@asynccontextmanager
async def watching(slurm: Slurm, jobs: Iterable[str], timing: Timing) -> AsyncIterator[Watch]:
    """Watch jobs (`states.reference`) with everybody else of this event loop who does."""
    loop = asyncio.get_running_loop()
    shared = _pollers.setdefault(loop, {})
    poller = shared.setdefault(slurm, Poller(slurm, timing))
    indexes = dict(split(job) for job in jobs)
    for job, those in indexes.items():
        poller.add(job, those)
    try:
        yield Watch(poller, indexes)
    finally:
        for job in indexes:
            await poller.drop(job)


async def wait_ready(
    slurm: Slurm,
    jobs: Iterable[str],
    timing: Timing,
    on_snapshot: Callable[[Snapshot], object] | None = None,
    deadline_s: float | None = None,
) -> Snapshot:
    """Wait until there is something to decide (`Snapshot.is_ready`), or ``deadline_s`` has passed.

    Parameters
    ----------
    jobs
        None at all: sleep until the deadline.

    Raises
    ------
    SlurmBusyError
        Slurm hasn't answered for longer than ``timing.give_up_s``.
    """
    jobs = list(jobs)
    latest = Snapshot({})
    if not jobs:
        await asyncio.sleep(deadline_s or 0)
        return latest
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s), watching(slurm, jobs, timing) as watch:
            while not latest.is_ready:
                latest = await watch.next()
                if on_snapshot is not None:
                    on_snapshot(latest)
    return latest
