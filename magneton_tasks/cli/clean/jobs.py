"""``magneton clean --what jobs``: cancel the jobs of runs that are over."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from magneton_tasks.base import lease
from magneton_tasks.cli.clean.left_behind import LeftBehind
from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners.slurm import left
from magneton_tasks.runners.slurm.left import LeftJob
from magneton_tasks.runners.slurm.programs import Slurm


def clean(config: RunConfig, dry_run: bool, yes: bool, as_json: bool) -> int:
    """List, ask, cancel; returns the exit code. Parameters as those of `cli.clean.clean.clean`.

    Raises
    ------
    SlurmBusyError
        Slurm doesn't answer.
    Quit
        The question was left.
    """
    slurm = Slurm.of_config(config)
    behind = LeftBehind(
        config.paths.work,
        "jobs",
        "cancel",
        "cancelled",
        over(slurm, config),
        str,
        asdict,
        lambda found: left.cancel(slurm, found),
    )
    return behind.clean(dry_run, yes, as_json)


def over(slurm: Slurm, config: RunConfig) -> list[LeftJob]:
    """The volume's jobs in the queue, but for those of the run that has its lease."""
    holder = lease.holder_of(Path(config.paths.work))
    found = left.of_work(slurm, config.paths.work)
    return [j for j in found if holder is None or j.run != holder[0].run]
