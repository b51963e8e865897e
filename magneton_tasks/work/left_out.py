"""One of several thresholds that fails doesn't stop the others: what failed at which, stage by stage.

A task that fails leaves a file that says so, and takes it away once a retry mends it. The later stages
leave that threshold out, and verify tells of it: the run ends red.
"""

from __future__ import annotations

from contextlib import suppress

from magneton_tasks.base import files
from magneton_tasks.plan.stage_table import AFTER_POOL, STAGES
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.paths import stage_of


def note(job: Job, cause: str | None, *, is_mapped: bool) -> None:
    """Keep why a task failed; None: it didn't. Of a single threshold nothing is kept.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    paths = job.attempt.paths
    if not paths.cut:
        return
    part = job.part[0] if job.part else None
    path = paths.failed(job.stage, job.batch if is_mapped else None, part)
    if cause is None:
        path.unlink(missing_ok=True)
    else:
        files.write_atomic(path, cause.encode())


def note_batch(attempt: Attempt, stage: str, batch: int | None, cause: str | None) -> None:
    """As `note`, by whoever ran the batch: one that was killed couldn't say it.

    Parameters
    ----------
    attempt
        With all its thresholds.
    """
    if not attempt.plan.cuts or batch is None or stage not in AFTER_POOL:
        return
    job = Job.of_batch(attempt, stage, batch)
    if (
        cause is None or not job.attempt.paths.failed(stage, batch).exists()
    ):  # it may have said more
        note(job, cause, is_mapped=True)


def failed_before(attempt: Attempt, stage: str) -> str | None:
    """What failed at this threshold before a stage, and why; None: nothing, or it's the only one."""
    if not attempt.paths.cut:
        return None
    directory = attempt.paths.failed(stage).parent
    before = STAGES[: STAGES.index(stage)]
    for name in sorted(files.listdir(directory)):
        if stage_of(name) in before:
            with suppress(OSError):
                return f"{stage_of(name)} failed: {(directory / name).read_text()}"
    return None
