"""What waits for a batch's jobs while its task is deferred and holds no worker slot.

All triggers of a triggerer share one poller a cluster (`runners.arrays.watch`). Jobs are cancelled in
`JobsTrigger.on_kill` alone, which somebody's deed starts: a restart of the triggerer also ends
triggers, and must leave the jobs alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from magneton_tasks.errors import TemporaryError
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.scheduler import BusyError
from magneton_tasks.runners.arrays.snapshot import Timing
from magneton_tasks.runners.arrays.watch import wait_ready
from magneton_tasks.runners.jobs import open_jobs
from magneton_tasks.runners.registry import cluster_of

#: A trigger doesn't fire sooner, in seconds. Airflow's scheduler must first have seen that the worker
#: which deferred has ended; else it takes that end for the resumed task's, and starts another try.
SETTLE_S = 5.0
#: How often, and how long, a killed task's jobs are tried to be cancelled while no scheduler answers, in
#: seconds.
KILL_PAUSE_S, KILL_PATIENCE_S = 5.0, 600.0
#: What goes on though Airflow no longer waits for it; an event loop alone would forget it.
_cancelling: set[asyncio.Task[list[str]]] = set()


class JobsTrigger(BaseTrigger):
    """Fires once one of the jobs has ended, or at a time.

    Parameters
    ----------
    runner, cluster, timing
        Name of the runner, `Cluster.to_data`, and the fields of a `Timing`.
    jobs
        Ids of the jobs; none: there's only the time to wait for.
    until
        When to fire at the latest, as seconds since the epoch; None: no matter when.
    attempt, stage, batch, token
        Whose jobs they are: what `on_kill` cancels, while the token is still the owner's.
    """

    def __init__(
        self,
        *,
        runner: str,
        cluster: Mapping[str, Any],
        timing: Mapping[str, Any],
        jobs: Sequence[str],
        until: float | None,
        attempt: str,
        stage: str,
        batch: int | None,
        token: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.runner = runner
        self.cluster = cluster
        self.timing = timing
        self.jobs = jobs
        self.until = until
        self.attempt = attempt
        self.stage = stage
        self.batch = batch
        self.token = token

    @classmethod
    def of_batch(
        cls, jobs: BatchJobs, token: str, ids: Sequence[str], wait_s: float | None
    ) -> JobsTrigger:
        """For the jobs of a batch; ``wait_s``: for this many seconds at most."""
        until = None if wait_s is None else time.time() + wait_s
        about = jobs.about
        return cls(
            runner=about.attempt.config.runner.default,
            cluster=about.scheduler.cluster.to_data(),
            timing=asdict(Timing.of(about.scheduler.settings)),
            jobs=list(ids),
            until=until,
            attempt=str(about.attempt.paths.root),
            stage=about.stage,
            batch=about.batch,
            token=token,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, as the metadata database keeps them."""
        names = (
            "runner",
            "cluster",
            "timing",
            "jobs",
            "until",
            "attempt",
            "stage",
            "batch",
            "token",
        )
        return f"{__name__}.JobsTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; the event holds what was seen, or that no scheduler has answered for too long."""
        cluster, timing = cluster_of(self.runner, self.cluster), Timing(**self.timing)
        settled = time.monotonic() + SETTLE_S
        left = None if self.until is None else max(self.until - time.time(), 0.0)
        try:
            snapshot = await wait_ready(cluster, self.jobs, timing, deadline_s=left)
            seen: dict[str, Any] = {"snapshot": snapshot.to_data()}
        except BusyError as error:
            seen = {"silent": str(error)}
        await asyncio.sleep(max(settled - time.monotonic(), 0))
        yield TriggerEvent(seen)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the jobs of a task that was marked, cleared or deleted, unless a new try has them.

        Airflow 3.3 cancels a killed trigger each second until it has ended, and `on_kill` with it.
        A scheduler's programs may well take longer, so they are waited for all the same.
        """
        work = asyncio.create_task(self._cancel())
        _cancelling.add(work)
        work.add_done_callback(_cancelling.discard)
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.shield(work)
        self.log.info("cancelled jobs: %s", ", ".join(work.result()) or "none")

    async def _cancel(self) -> list[str]:
        deadline = time.monotonic() + KILL_PATIENCE_S
        while True:
            try:
                return await asyncio.to_thread(self._cancel_now)
            except TemporaryError as error:
                if time.monotonic() > deadline:
                    raise
                self.log.warning("the jobs aren't cancelled yet: %s", error)
            await asyncio.sleep(KILL_PAUSE_S)

    def _cancel_now(self) -> list[str]:
        return open_jobs(Path(self.attempt), self.stage, self.batch).cancel(self.token)
