"""What a cluster allows: asked once in plan, so that nothing is refused in the middle of a run."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.errors import ConfigError
from magneton_tasks.runners.arrays.scheduler import Limits, Scheduler, Settings
from magneton_tasks.work.paths import AttemptPaths

#: Little work is still spread over this many jobs: one that fails then costs less.
_SPREAD = 4


def ask(scheduler: Scheduler) -> Limits:
    """Ask the cluster, and hold it against what jobs will ask for.

    Raises
    ------
    BusyError
        It doesn't answer.
    ConfigError
        It has no such partition, a job would be refused or wait for ever, or the programs aren't here.
    """
    found = scheduler.limits()
    check(found, scheduler)
    return found


def check(limits: Limits, scheduler: Scheduler) -> None:
    """Refuse time, memory and CPUs that the partition doesn't give.

    Raises
    ------
    ConfigError
        A job would be refused, or wait for ever.
    """
    settings, section = scheduler.settings, scheduler.section
    of = f"of partition {limits.partition}"
    hint = f"lower it, or take another {scheduler.partition_key}"
    for key, seconds in (("time", settings.time_s), ("max_time", settings.max_time_s)):
        if seconds is not None and limits.max_time_s is not None and seconds > limits.max_time_s:
            raise ConfigError(
                f"{section}.{key} is {human_time(seconds)}, more than the limit {of} ({human_time(limits.max_time_s)})",
                hint,
            )
    for key, size in (("memory", settings.memory), ("max_memory", settings.max_memory)):
        if size is not None and limits.node_bytes and size > limits.node_bytes:
            raise ConfigError(
                f"{section}.{key} is {human_bytes(size)}, more than a node {of} has ({human_bytes(limits.node_bytes)})",
                hint,
            )
    if limits.node_cpus and settings.cpus > limits.node_cpus:
        raise ConfigError(
            f"{section}.cpus is {settings.cpus}, more than a node {of} has ({limits.node_cpus})",
            hint,
        )


def longest_s(limits: Limits, settings: Settings) -> int | None:
    """The most time that a later try may get, in seconds; None: there is no limit."""
    return settings.max_time_s if settings.max_time_s is not None else limits.max_time_s


# ------------------------------------------------------------------ kept in the attempt
def write(attempt: Path, limits: Limits) -> None:
    """Keep what the cluster allows in the attempt."""
    path = _path(attempt)
    files.make_directory(path.parent)
    files.write_atomic(path, json.dumps(asdict(limits)).encode())


def read(attempt: Path) -> Limits | None:
    """What `write` wrote; None: nothing."""
    try:
        return Limits(**json.loads(_path(attempt).read_text()))
    except FileNotFoundError:
        return None


def _path(attempt: Path) -> Path:
    return AttemptPaths(attempt).jobs / "limits.json"


# ------------------------------------------------------------------ batches
def cut(blocks: int, cpu_s: float, settings: Settings, max_array: int) -> tuple[int, int]:
    """Batches (arrays) of a stage, and parts (indexes) of each.

    A part works ``target_minutes``, one block at least; an array has as many as the scheduler and
    ``max_queued`` allow.
    """
    if not blocks:
        return 0, 1
    parts = min(max(round(cpu_s / (settings.target_minutes * 60)), min(blocks, _SPREAD)), blocks)
    batches = ceil_div(parts, min(max_array, settings.max_queued))
    return batches, ceil_div(parts, batches)
