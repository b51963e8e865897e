"""All batches of a stage on a cluster, in one event loop: without Airflow."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from magneton_tasks.errors import EXIT_OK
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.job_files import forget_halts
from magneton_tasks.runners.arrays.scheduler import Scheduler
from magneton_tasks.runners.arrays.snapshot import Snapshot, Timing
from magneton_tasks.runners.arrays.states import Phase
from magneton_tasks.runners.arrays.steps import Done, Failed, Later, Lost, Step, Wait
from magneton_tasks.runners.arrays.watch import wait_ready
from magneton_tasks.work import events
from magneton_tasks.work.attempt import Attempt


class InterruptedRunError(KeyboardInterrupt):
    """Ctrl-C: the jobs go on until somebody decides."""


class LostRunError(Exception):
    """Another process follows this run now."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs of a stage, and the share of its parts that is done."""

    pending: int
    running: int
    failed: int
    done: float


@dataclass
class _Batch:
    """How one batch stands: for the live table."""

    jobs: BatchJobs
    done_parts: int = 0
    latest: Snapshot = field(default_factory=lambda: Snapshot({}))


async def _all(tasks: Iterable[asyncio.Task[int]]) -> list[int]:
    return await asyncio.gather(*tasks)


class StageRun:
    """Submits, watches and resubmits until every batch is done or has failed.

    Parameters
    ----------
    on_event
        Gets what is for people: submissions, retries, failures, warnings.
    on_counts
        Called after each look at the queue.
    """

    def __init__(
        self,
        attempt: Attempt,
        scheduler: Scheduler,
        stage: str,
        batches: int | None,
        on_event: Callable[[events.Event], None],
        on_counts: Callable[[Counts], None] = lambda _: None,
    ) -> None:
        keys: Sequence[int | None] = [None] if batches is None else list(range(batches))
        self._attempt, self._stage = attempt, stage
        self._batches = {k: _Batch(BatchJobs.of(attempt, stage, k, scheduler)) for k in keys}
        self._timing = Timing.of(scheduler.settings)
        self._on_event, self._on_counts = on_event, on_counts
        self._said: dict[tuple[int | None, str], str] = {}
        first = next(iter(self._batches.values()), None)
        self._slots = first.jobs.about.arrays_at_once if first is not None else 1

    def run(self) -> dict[int | None, int]:
        """Exit codes of all batches.

        Raises
        ------
        InterruptedRunError
            Ctrl-C; the jobs go on.
        LostRunError
            Another process adopted a batch; its jobs are that one's now.
        """
        forget_halts(self._attempt.paths.root, self._stage)
        return asyncio.run(self._run())

    async def _run(self) -> dict[int | None, int]:
        slots = asyncio.Semaphore(self._slots)
        tasks = {k: asyncio.create_task(self._one(k, slots)) for k in self._batches}
        interrupted = asyncio.Event()
        loop = asyncio.get_running_loop()
        with suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
            loop.add_signal_handler(signal.SIGINT, interrupted.set)
        stop = asyncio.create_task(interrupted.wait())
        everything = asyncio.create_task(_all(tasks.values()))
        try:
            await asyncio.wait((everything, stop), return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                raise InterruptedRunError
            return dict(zip(tasks, everything.result(), strict=True))
        finally:
            for task in (*tasks.values(), everything, stop):
                task.cancel()
            await asyncio.gather(*tasks.values(), everything, stop, return_exceptions=True)
            with suppress(ValueError, RuntimeError, NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)

    async def _one(self, key: int | None, slots: asyncio.Semaphore) -> int:
        """One batch to its end; its exit code."""
        batch = self._batches[key]
        async with slots:
            token = await asyncio.to_thread(batch.jobs.adopt)
            snapshot: Snapshot | None = None
            while True:
                step = await asyncio.to_thread(batch.jobs.step, token, snapshot)
                for note in step.notes:
                    self._on_event(events.Note(note))
                code = self._ended(key, step)
                if code is not None:
                    return code
                assert isinstance(step, Wait | Later)
                snapshot = await self._wait(key, step)

    async def _wait(self, key: int | None, step: Wait | Later) -> Snapshot | None:
        """Until there is something to decide."""
        deadline_s = None
        if isinstance(step, Later):
            self._warn_once(key, "later", step.why, "; waiting")
            deadline_s = step.seconds
        cluster = self._batches[key].jobs.about.scheduler.cluster
        await asyncio.to_thread(self._count_done, key)
        self._tell()
        found = await wait_ready(
            cluster, step.jobs, self._timing, lambda s: self._seen(key, s), deadline_s
        )
        return found if step.jobs else None

    def _ended(self, key: int | None, step: Step) -> int | None:
        """The exit code of a batch that has ended; None: it goes on."""
        if isinstance(step, Lost):
            raise LostRunError
        if isinstance(step, Failed):
            self._on_event(events.Failed.of(self._stage, step.error))
            self._batches[key].latest = Snapshot({})
            return step.error.exit_code
        if isinstance(step, Done):
            batch = self._batches[key]
            batch.done_parts, batch.latest = batch.jobs.about.parts, Snapshot({})
            self._tell()
            return EXIT_OK
        return None

    # -------------------------------------------------------------- what is seen
    def _count_done(self, key: int | None) -> None:
        batch = self._batches[key]
        batch.done_parts = len(batch.jobs.about.job_files.load().done)

    def _seen(self, key: int | None, snapshot: Snapshot) -> None:
        batch = self._batches[key]
        batch.latest = snapshot
        if snapshot.warning:
            self._warn_once(None, "silent", snapshot.warning)
        for job, reason in snapshot.stuck.items():
            self._warn_once(key, "stuck", f"job {job} may wait for ever: {reason}")
        self._tell()

    def _warn_once(self, key: int | None, kind: str, what: str, more: str = "") -> None:
        start = what.partition(" (for ")[0]
        if self._said.get((key, kind)) != start:
            self._said[key, kind] = start
            self._on_event(events.Note(f"WARNING: {what}{more}", "warning"))

    def _tell(self) -> None:
        pending = running = failed = parts = 0
        done = 0.0
        for batch in self._batches.values():
            seen = batch.latest
            running += seen.count(lambda t: t.is_running)
            pending += seen.count(lambda t: not t.is_running and not t.is_over)
            failed += seen.count(lambda t: t.has_failed)
            done += min(
                batch.done_parts + seen.count(lambda t: t.phase is Phase.DONE),
                batch.jobs.about.parts,
            )
            parts += batch.jobs.about.parts
        self._on_counts(Counts(pending, running, failed, done / max(parts, 1)))

    def cancel(self) -> list[str]:
        """Cancel the stage's jobs, whoever submitted them for this attempt; their ids."""
        cancelled = []
        for batch in self._batches.values():
            token = batch.jobs.about.job_files.owner()
            if token is not None:
                cancelled += batch.jobs.cancel(token)
        return cancelled
