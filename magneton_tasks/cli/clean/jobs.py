"""``magneton clean --what jobs``: cancel the jobs of runs that are over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from magneton_tasks.base import lease
from magneton_tasks.cli.clean.left_behind import LeftBehind
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
        over(scheduler, config),
        str,
        asdict,
        cancel,
    )
    return behind.clean(dry_run, yes, as_json)


def over(scheduler: Scheduler, config: RunConfig) -> list[LeftJob]:
    """The volume's jobs in the queue, but for those of the run that has its lease."""
    holder = lease.holder_of(Path(config.paths.work))
    found = scheduler.left(config.paths.work)
    return [j for j in found if holder is None or j.run != holder[0].run]
