"""What runs that are over left in a Docker engine, and in the queue of a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from magneton_tasks.base import lease
from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners.arrays.scheduler import LeftJob, Scheduler
from magneton_tasks.runners.docker import containers
from magneton_tasks.runners.docker.engine import Engine

#: As the engine tells of it.
Container = Mapping[str, Any]


def jobs_over(scheduler: Scheduler, config: RunConfig) -> list[LeftJob]:
    """The volume's jobs in the queue, but for those of the run that has its lease.

    Raises
    ------
    BusyError
        The scheduler doesn't answer.
    """
    running = _running(config)
    return [
        job for job in scheduler.left(config.paths.work) if running is None or job.run != running
    ]


def containers_over(
    engine: Engine, config: RunConfig, older_than_s: float | None
) -> list[Container]:
    """The volume's containers, but for those of the run that has its lease, and younger ones."""
    running, oldest = _running(config), time.time() - (older_than_s or 0)
    return [
        container
        for container in engine.find({containers.WORK: config.paths.work})
        if (running is None or container["Labels"].get(containers.RUN) != running)
        and container["Created"] <= oldest
    ]


def _running(config: RunConfig) -> str | None:
    """The run that has the volume's lease; None: none has."""
    holder = lease.holder_of(Path(config.paths.work))
    return None if holder is None else holder[0].run
