"""Jobs of earlier runs of a volume that are in a cluster's queue when another run is planned."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from magneton_tasks.base import lease
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import LeaseHeldError, MagnetonError
from magneton_tasks.runners.arrays import left
from magneton_tasks.runners.arrays.scheduler import LeftJob
from magneton_tasks.runners.registry import scheduler_of


def followed_by_nobody(config: RunConfig, run: str) -> tuple[LeftJob, ...]:
    """Arrays of the volume that no living run follows; none where the runner is another.

    Parameters
    ----------
    run
        The run that is planned: once it holds the lease, whoever else submitted is gone.

    Raises
    ------
    TemporaryError
        The scheduler doesn't answer.
    """
    scheduler = scheduler_of(config)
    if scheduler is None:
        return ()
    holder = lease.holder_of(Path(config.paths.work))
    keeper = holder[0].run if holder is not None and holder[0].run != run else None
    found = scheduler.left(config.paths.work)
    return tuple(j for j in found if j.run != keeper)


def cancel(config: RunConfig, jobs: tuple[LeftJob, ...]) -> None:
    """Cancel what `followed_by_nobody` found."""
    scheduler = scheduler_of(config)
    if scheduler is not None:
        left.cancel(scheduler, jobs)


def notes(jobs: tuple[LeftJob, ...]) -> tuple[str, ...]:
    """What the plan says of them."""
    return tuple(
        f"{job} is in the queue, but no process follows it: this run cancels it when it begins"
        for job in jobs
    )


def with_jobs(
    error: LeaseHeldError, config: RunConfig, config_path: Path, partition: str | None
) -> LeaseHeldError:
    """The refusal of a volume in use, with the jobs of the run that has it, and how to follow them."""
    scheduler = scheduler_of(config)
    if scheduler is None:
        return error
    jobs: list[LeftJob] = []
    with suppress(MagnetonError):  # the refusal stands by itself
        jobs = scheduler.left(config.paths.work)
    if not jobs:
        return error
    words = ["magneton", "attach", str(config_path)]
    if partition is not None:
        words += ["--partition", partition]
    return LeaseHeldError(
        f"{error.what}; in the queue: {', '.join(map(str, jobs))}",
        f"`{shlex.join(words)}` continues with these jobs if the run's process is gone; "
        f"else {error.hint}",
    )
