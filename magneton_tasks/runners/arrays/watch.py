"""Waiting for jobs, together with everybody else of the event loop who does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from weakref import WeakKeyDictionary

from magneton_tasks.runners.arrays.poller import Poller
from magneton_tasks.runners.arrays.scheduler import BusyError, Cluster
from magneton_tasks.runners.arrays.snapshot import Snapshot, Timing
from magneton_tasks.runners.arrays.states import Phase, TaskState, split

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Cluster, Poller]] = WeakKeyDictionary()


class Watch:
    """Jobs that one caller waits for; made by `watching`."""

    def __init__(self, poller: Poller, jobs: dict[str, list[int]]) -> None:
        self._poller, self._jobs = poller, jobs
        self._version = poller.version

    async def next(self) -> Snapshot:
        """What the next poll finds.

        Raises
        ------
        BusyError
            The scheduler hasn't answered for longer than ``give_up_s``.
        """
        self._version = await self._poller.after(self._version)
        poller = self._poller
        if poller.failing_since is not None:
            silent = time.monotonic() - poller.failing_since
            if silent > poller.timing.give_up_s:
                raise BusyError(
                    poller.warning,
                    f"rerun once {poller.title} answers; jobs in the queue continue, and are found",
                )
        return Snapshot(
            {j: self._of(j, indexes) for j, indexes in self._jobs.items()}, poller.warning
        )

    def _of(self, job: str, indexes: list[int]) -> dict[int, TaskState]:
        known = self._poller.states(job)
        pending = TaskState(Phase.WAITING)
        found = {i: known.get(i, pending) for i in indexes}
        # what isn't known in full yet isn't over yet
        return {i: t if not t.is_over or t.is_known else t.ending for i, t in found.items()}


@asynccontextmanager
async def watching(cluster: Cluster, jobs: Iterable[str], timing: Timing) -> AsyncIterator[Watch]:
    """Watch jobs (`states.reference`) with everybody else of this event loop who does."""
    loop = asyncio.get_running_loop()
    shared = _pollers.setdefault(loop, {})
    poller = shared.setdefault(cluster, Poller(cluster, timing))
    indexes = dict(split(job) for job in jobs)
    for job, those in indexes.items():
        poller.add(job, those)
    try:
        yield Watch(poller, indexes)
    finally:
        for job in indexes:
            await poller.drop(job)


async def wait_ready(
    cluster: Cluster,
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
    BusyError
        The scheduler hasn't answered for longer than ``timing.give_up_s``.
    """
    jobs = list(jobs)
    latest = Snapshot({})
    if not jobs:
        await asyncio.sleep(deadline_s or 0)
        return latest
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline_s), watching(cluster, jobs, timing) as watch:
            while not latest.is_ready:
                latest = await watch.next()
                if on_snapshot is not None:
                    on_snapshot(latest)
    return latest
