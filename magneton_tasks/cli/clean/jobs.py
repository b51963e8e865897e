"""``magneton clean --what jobs``: cancel the jobs of runs that are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from magneton_tasks.clean.left_behind import jobs_over
from magneton_tasks.cli.clean.ending import LeftBehind
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import worst
from magneton_tasks.runners.arrays import left
from magneton_tasks.runners.arrays.scheduler import LeftJob, Scheduler
from magneton_tasks.runners.registry import schedulers


def clean(config: RunConfig, dry_run: bool, yes: bool, as_json: bool) -> int:
    """List, ask, cancel; returns the exit code. Parameters as those of `cli.clean.clean.clean`.

    Raises
    ------
    BusyError
        A scheduler doesn't answer.
    Quit
        The question was left.
    """
    return worst([_clean(one, config, dry_run, yes, as_json) for one in schedulers(config)])


def _clean(scheduler: Scheduler, config: RunConfig, dry_run: bool, yes: bool, as_json: bool) -> int:
    def cancel(found: Sequence[LeftJob]) -> list[str]:
        return left.cancel(scheduler, found)

    behind = LeftBehind(
        config.paths.work,
        "jobs",
        "cancel",
        "cancelled",
        jobs_over(scheduler, config),
        str,
        asdict,
        cancel,
    )
    return behind.clean(dry_run, yes, as_json)
