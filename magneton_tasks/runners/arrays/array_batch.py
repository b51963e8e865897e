"""What one batch of a stage is to a scheduler: which work, in how many parts, and what its jobs get."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.plan.stage_table import OF_EACH, PROBE
from magneton_tasks.runners.arrays import limits
from magneton_tasks.runners.arrays.job import ArrayJob
from magneton_tasks.runners.arrays.job_files import JobFiles
from magneton_tasks.runners.arrays.progress import Progress, Submitted
from magneton_tasks.runners.arrays.scheduler import Limits, Scheduler
from magneton_tasks.runners.resources import BESIDE_BYTES, first_memory
from magneton_tasks.runners.retry import Need, Policy
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt

#: The probe takes no longer, in seconds.
_PROBE_S = 300
#: Memory of a job of a stage without a projection (verify, probe), in bytes.
_SMALL_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class ArrayBatch:
    """One batch of a stage; one part are a stage without batches, and one of several thresholds."""

    attempt: Attempt
    stage: str
    batch: int | None
    scheduler: Scheduler

    @property
    def parts(self) -> int:
        """Shares of the batch, an index each."""
        if self.batch is None or self.stage in OF_EACH:
            return 1
        return self.attempt.work_of(self.stage).parts

    @property
    def job_files(self) -> JobFiles:
        """The files beside the batch."""
        return JobFiles(self.attempt.paths.root, self.stage, self.batch)

    @property
    def task(self) -> str:
        """``segment-0003``."""
        return self.job_files.task

    def array(self, known: Progress, job: Submitted) -> ArrayJob:
        """An array as the scheduler is told of it."""
        plan = self.attempt.plan
        queued = sum(len(j.indexes) for j in known.in_flight)
        share = max(self.scheduler.settings.max_running // self.arrays_at_once, 1)
        return ArrayJob(
            work=self.attempt.config.paths.work,
            volume=Path(plan.config_path).stem,
            run=plan.run,
            attempt=self.attempt.paths.root,
            stage=self.stage,
            batch=self.batch,
            parts=self.parts,
            number=job.number,
            indexes=tuple(job.indexes),
            memory=job.need.memory,
            worker_bytes=max(job.need.memory - BESIDE_BYTES, job.need.memory // 2),
            time_s=job.need.time_s,
            running=max(share - min(queued, share), 1),
            exclude=tuple(known.exclude),
        )

    # -------------------------------------------------------------- how much
    @property
    def arrays_at_once(self) -> int:
        """Batches of the stage that may have jobs in the queue at the same time."""
        attempt, settings = self.attempt, self.scheduler.settings
        if self.batch is None:
            return 1
        work = group_work.work_of(attempt.paths, attempt.plan, self.stage)
        batches = len(attempt.plan.cuts) if work is None else work.batches
        return max(min(batches, settings.max_queued // self.parts, settings.max_running), 1)

    @property
    def first_need(self) -> Need:
        """What the first try of a part asks for."""
        settings = self.scheduler.settings
        time_s = min(_PROBE_S, settings.time_s) if self.stage == PROBE.name else settings.time_s
        attempt = self.attempt
        projected = group_work.memory_of(attempt.paths, attempt.plan, self.stage)
        bound = _SMALL_BYTES - BESIDE_BYTES if projected is None else projected.bound
        return Need(first_memory(settings.memory, bound, self.policy.memory), time_s)

    @property
    def policy(self) -> Policy:
        """How often parts are tried, and what later tries get at the most."""
        settings, allowed = self.scheduler.settings, self.limits
        most = settings.max_memory or allowed.node_bytes or settings.memory or 2**60
        longest_s = limits.longest_s(allowed, settings)
        return Policy(settings.tries, settings.memory_growth, settings.time_growth, most, longest_s)

    @property
    def limits(self) -> Limits:
        """What the cluster allows, as plan asked it; asked now where plan didn't."""
        found = limits.read(self.attempt.paths.root)
        if found is None:
            found = self.scheduler.limits()
            limits.write(self.attempt.paths.root, found)
        return found
