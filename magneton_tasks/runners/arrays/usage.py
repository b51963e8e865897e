"""What an attempt's jobs used of what they had reserved, and what to ask for next time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.units import human_bytes, human_time, several
from magneton_tasks.errors import MagnetonError
from magneton_tasks.plan.stage_table import PROBE, STAGES
from magneton_tasks.runners.arrays import limits
from magneton_tasks.runners.arrays.job_files import jobs_of_tasks
from magneton_tasks.runners.arrays.scheduler import Scheduler, Used
from magneton_tasks.runners.resources import first_memory
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Note
from magneton_tasks.work.paths import AttemptPaths, stage_of

#: What the next run should have beyond the most that was seen.
_MEMORY_MARGIN, _TIME_MARGIN = 1.25, 1.5
_MEMORY_STEP, _TIME_STEP_S = 256 * 2**20, 300


@dataclass
class Usage:
    """Of all jobs of a stage.

    Attributes
    ----------
    reserved_bytes
        The most that one of them had.
    grown_bytes
        What jobs got in the end after they had run out of memory; 0: none did. What is measured of
        those that were killed says little.
    planned_bytes
        The most that jobs of any stage of the plan get without ``memory`` in the config.
    """

    stage: str
    jobs: int = 0
    cpu_s: float = 0.0
    reserved_cpu_s: float = 0.0
    longest_s: float = 0.0
    peak_bytes: int = 0
    reserved_bytes: int = 0
    grown_bytes: int = 0
    planned_bytes: int = 0

    @property
    def efficiency(self) -> float | None:
        """CPU time used / reserved; None: nothing is known."""
        return self.cpu_s / self.reserved_cpu_s if self.reserved_cpu_s else None


def collect(scheduler: Scheduler, attempt: Attempt) -> list[Usage]:
    """Usage by stage: as the scheduler accounts for it, else of what the workers wrote.

    The peak of memory is the larger of both: a scheduler samples it each half minute, and misses
    all of a job that is shorter.
    """
    root, cpus = attempt.paths.root, scheduler.settings.cpus
    found: dict[str, Usage] = {}
    owners: dict[str, str] = {}
    planned = _planned_bytes(scheduler, attempt)
    for task, known in jobs_of_tasks(root):
        stage = stage_of(task)
        usage = found.setdefault(stage, Usage(stage, planned_bytes=planned))
        had = [job.need.memory for job in known.jobs]
        usage.reserved_bytes = max(usage.reserved_bytes, *had, 0)
        if len(set(had)) > 1:
            usage.grown_bytes = max(usage.grown_bytes, *had)
        owners |= {job.job: stage for job in known.jobs if job.job}
    for job, used in scheduler.usage(list(owners)):
        if job in owners:
            _add(found[owners[job]], used)
    for usage in found.values():
        _add_results(usage, root, cpus)
    order = [PROBE.name, *STAGES]
    return sorted((u for u in found.values() if u.jobs), key=lambda u: order.index(u.stage))


def _planned_bytes(scheduler: Scheduler, attempt: Attempt) -> int:
    """The least ``memory`` of a first try that leaves no job with less than plan projects."""
    allowed = limits.read(attempt.paths.root)
    most = scheduler.settings.max_memory or (allowed.node_bytes if allowed else 0) or 2**60
    bounds = (projected.bound for projected in attempt.plan.memory.values())
    return max((first_memory(None, bound, most) for bound in bounds), default=0)


def _add(usage: Usage, used: Used) -> None:
    usage.jobs += used.jobs
    usage.cpu_s += used.cpu_s
    usage.reserved_cpu_s += used.reserved_cpu_s
    usage.longest_s = max(usage.longest_s, used.longest_s)
    usage.peak_bytes = max(usage.peak_bytes, used.peak_bytes)


def _add_results(usage: Usage, attempt: Path, cpus: int) -> None:
    """The peaks that workers measured; without accounting their times, too, but for their start."""
    accounted = bool(usage.jobs)
    for task, one in results.read(AttemptPaths(attempt)).items():
        if stage_of(task) != usage.stage:
            continue
        used = Used(peak_bytes=one.get("peak_bytes") or 0)
        if not accounted:
            cpu_s, seconds = one.get("cpu_s") or 0.0, float(one.get("seconds") or 0)
            used = Used(1, cpu_s, seconds, seconds * cpus, used.peak_bytes)
        _add(usage, used)


def propose(usages: list[Usage], memory: int | None) -> dict[str, str]:
    """``memory`` and ``time`` for the next run of this kind, where others than now would do.

    Parameters
    ----------
    memory
        ``memory`` of this run's config in bytes; None: each stage got what plan projects, which is
        proposed to stay unless jobs ran out of it. Less than plan projects is never proposed.
    """
    peak = max((u.peak_bytes for u in usages), default=0)
    longest = max((u.longest_s for u in usages), default=0.0)
    if not peak or not longest:
        return {}
    grown = max(u.grown_bytes for u in usages)
    enough = max(int(peak * _MEMORY_MARGIN), grown, *(u.planned_bytes for u in usages))
    enough = ceil_div(enough, _MEMORY_STEP) * _MEMORY_STEP
    minutes = ceil_div(int(longest * _TIME_MARGIN), _TIME_STEP_S) * _TIME_STEP_S // 60 or 5
    proposal = {"time": f"{minutes // 60:02d}:{minutes % 60:02d}:00"}
    if grown or (memory is not None and enough < memory):
        proposal = {"memory": f"{enough // 2**20}MiB"} | proposal
    return proposal


def lines(usages: list[Usage], scheduler: Scheduler) -> Iterator[str]:
    """The report for people."""
    for u in usages:
        share = f", {u.efficiency:.0%} of what was reserved" if u.efficiency is not None else ""
        peak = (
            f"; memory at most {human_bytes(u.peak_bytes)} of {human_bytes(u.reserved_bytes)}"
            if u.peak_bytes
            else ""
        )
        yield (
            f"{u.stage:<10} {several(u.jobs, 'job')}, longest {human_time(u.longest_s)}, "
            f"{human_time(u.cpu_s)} CPU{share}{peak}"
        )
    proposal = propose(usages, scheduler.settings.memory)
    if proposal:
        asked = ", ".join(
            f'{k}: "{v}"' if k == "time" else f"{k}: {v}" for k, v in proposal.items()
        )
        ran_out = [u.stage for u in usages if u.grown_bytes]
        why = f" (jobs of {', '.join(ran_out)} ran out of memory with less)" if ran_out else ""
        yield f"next time  {scheduler.section}: {{{asked}}} would be enough{why}"


def report(scheduler: Scheduler, attempt: Attempt) -> Iterator[Note]:
    """At a run's end: keep in the attempt what its jobs used, and tell it; that may fail."""
    try:
        found = collect(scheduler, attempt)
        proposal = propose(found, scheduler.settings.memory)
        data = {"stages": [asdict(u) for u in found], "proposal": proposal}
        files.write_atomic(attempt.paths.jobs / "usage.json", json.dumps(data).encode())
    except (MagnetonError, OSError) as error:
        yield Note(f"WARNING: it is unknown what the jobs used: {error}", "warning")
        return
    yield from map(Note, lines(found, scheduler))
