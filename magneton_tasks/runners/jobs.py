"""The jobs of an attempt, on the scheduler that its own config names."""

from __future__ import annotations

from pathlib import Path

from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.batch import BatchJobs
from magneton_tasks.runners.arrays.scheduler import Shell, run_here
from magneton_tasks.runners.registry import scheduler_of
from magneton_tasks.work.attempt import Attempt


def open_jobs(
    root: Path, stage: str, batch: int | None = None, shell: Shell = run_here
) -> BatchJobs:
    """Those of one batch of a stage, or of a stage without batches.

    Raises
    ------
    MagnetonError
        ``root`` isn't an attempt's directory (66), another version planned it, or its runner has
        no jobs (78).
    """
    attempt = Attempt.open(root)
    scheduler = scheduler_of(attempt.config)
    if scheduler is None:
        raise ConfigError(
            f"{root} is a run of the {attempt.config.runner.default} runner, which has no jobs",
            "plan it for a runner on a cluster",
        )
    return BatchJobs.of(attempt, stage, batch, scheduler, shell)
