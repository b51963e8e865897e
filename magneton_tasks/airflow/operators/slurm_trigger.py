"""What waits for a batch's jobs while its task is deferred and holds no worker slot.

All triggers of a triggerer share one poller a cluster (`runners.arrays.watch`). Jobs are cancelled in
`SlurmTrigger.on_kill` alone, which somebody's deed starts: a restart of the triggerer also ends
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
from magneton_tasks.runners.arrays import batch as batches
from magneton_tasks.runners.arrays.watch import Timing, wait_ready
from magneton_tasks.runners.slurm.programs import Slurm, SlurmBusyError

#: A trigger doesn't fire sooner, in seconds. Airflow's scheduler must first have seen that the worker
#: which deferred has ended; else it takes that end for the resumed task's, and starts another try.
SETTLE_S = 5.0
#: How often, and how long, a killed task's jobs are tried to be cancelled while Slurm doesn't answer, in
#: seconds.
KILL_PAUSE_S, KILL_PATIENCE_S = 5.0, 600.0
#: What goes on though Airflow no longer waits for it; an event loop alone would forget it.
_cancelling: set[asyncio.Task[list[str]]] = set()


class SlurmTrigger(BaseTrigger):
    """Fires once one of the jobs has ended, or at a time.

    Parameters
    ----------
    slurm, timing
        `Slurm.to_data`, and the fields of a `Timing`.
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
        slurm: Mapping[str, Any],
        timing: Mapping[str, Any],
        jobs: Sequence[str],
        until: float | None,
        attempt: str,
        stage: str,
        batch: int | None,
        token: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.slurm = slurm
        self.timing = timing
        self.jobs = jobs
        self.until = until
        self.attempt = attempt
        self.stage = stage
        self.batch = batch
        self.token = token

    @classmethod
    def of_batch(
        cls, jobs: batches.BatchJobs, token: str, ids: Sequence[str], wait_s: float | None
    ) -> SlurmTrigger:
        """For the jobs of a batch; ``wait_s``: for this many seconds at most."""
        until = None if wait_s is None else time.time() + wait_s
        return cls(
            slurm=jobs.slurm.to_data(),
            timing=asdict(Timing.of_config(jobs.attempt.config)),
            jobs=list(ids),
            until=until,
            attempt=str(jobs.attempt.paths.root),
            stage=jobs.stage,
            batch=jobs.batch,
            token=token,
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments, as the metadata database keeps them."""
        names = ("slurm", "timing", "jobs", "until", "attempt", "stage", "batch", "token")
        return f"{__name__}.SlurmTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; the event holds what was seen, or that Slurm hasn't answered for too long."""
        slurm, timing = Slurm.of_data(self.slurm), Timing(**self.timing)
        settled = time.monotonic() + SETTLE_S
        left = None if self.until is None else max(self.until - time.time(), 0.0)
        try:
            snapshot = await wait_ready(slurm, self.jobs, timing, deadline_s=left)
            seen: dict[str, Any] = {"snapshot": snapshot.to_data()}
        except SlurmBusyError as error:
            seen = {"silent": str(error)}
        await asyncio.sleep(max(settled - time.monotonic(), 0))
        yield TriggerEvent(seen)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the jobs of a task that was marked, cleared or deleted, unless a new try has them.

        Airflow 3.3 cancels a killed trigger each second until it has ended, and `on_kill` with it.
        Slurm's programs may well take longer, so they are waited for all the same.
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
                return await batches.cancel_async(
                    Path(self.attempt), self.stage, self.batch, self.token
                )
            except TemporaryError as error:
                if time.monotonic() > deadline:
                    raise
                self.log.warning("the jobs aren't cancelled yet: %s", error)
            await asyncio.sleep(KILL_PAUSE_S)
