"""What an attempt's jobs used of what they had reserved, and what to ask for next time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.units import human_bytes, human_time, parse_size
from magneton_tasks.plan.stage_names import STAGES
from magneton_tasks.runners.arrays.progress import desks
from magneton_tasks.runners.resources import first_memory
from magneton_tasks.runners.slurm import limits
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.states import parse_elapsed
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths

SACCT = (
    "sacct", "--noheader", "--parsable2", "--format=JobID,State,TotalCPU,ElapsedRaw,AllocCPUS,MaxRSS",
)  # fmt: skip
#: What the next run should have beyond the most that was seen.
_MEMORY_MARGIN, _TIME_MARGIN = 1.25, 1.5
_MEMORY_STEP, _TIME_STEP_S = 256 * 2**20, 300
#: Jobs asked for at once: an argument list is finite.
_AT_ONCE = 200


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
        The most that jobs of any stage of the plan get without ``slurm.memory``.
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


def collect(slurm: Slurm, attempt: Attempt) -> list[Usage]:
    """Usage by stage: of sacct where it tells, else of what the workers wrote."""
    root, cpus = attempt.paths.root, attempt.config.slurm.cpus
    found: dict[str, Usage] = {}
    owners: dict[str, str] = {}
    planned = _planned_bytes(attempt)
    for task, known in desks(root):
        stage = task.partition("-")[0]
        usage = found.setdefault(stage, Usage(stage, planned_bytes=planned))
        had = [job.need.memory for job in known.jobs]
        usage.reserved_bytes = max(usage.reserved_bytes, *had, 0)
        if len(set(had)) > 1:
            usage.grown_bytes = max(usage.grown_bytes, *had)
        owners |= {job.job: stage for job in known.jobs if job.job}
    jobs = list(owners)
    for begin in range(0, len(jobs), _AT_ONCE):
        some = jobs[begin : begin + _AT_ONCE]
        answer = slurm.run((*SACCT, f"--jobs={','.join(some)}"))
        if answer.code == 0:
            for identity, row in parse(answer.out):
                if identity in owners:
                    _add(found[owners[identity]], row)
    for usage in found.values():
        if not usage.jobs:
            _add_results(usage, root, cpus)
    order = ["probe", *STAGES]
    return sorted((u for u in found.values() if u.jobs), key=lambda u: order.index(u.stage))


def _planned_bytes(attempt: Attempt) -> int:
    """The least ``slurm.memory`` that leaves no job with less than plan projects."""
    allowed = limits.read(attempt.paths.root)
    most = attempt.config.slurm.max_memory or (allowed.node_bytes if allowed else 0) or 2**60
    bounds = (projected.bound for projected in attempt.plan.memory.values())
    return max((first_memory(None, bound, most) for bound in bounds), default=0)


def parse(text: str) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Array job id and figures of each line of `SACCT`; a job's own line, or one of its steps'."""
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6:
            continue
        identity, _, cpu, elapsed, cpus, peak = fields
        job, _, rest = identity.partition("_")
        if "." in rest:
            yield job, {"peak_bytes": parse_rss(peak)}
        elif elapsed.isdigit() and cpus.isdigit():
            seconds = float(elapsed)
            yield (
                job,
                {
                    "jobs": 1,
                    "cpu_s": parse_cpu(cpu),
                    "longest_s": seconds,
                    "reserved_cpu_s": seconds * int(cpus),
                },
            )


def parse_cpu(text: str) -> float:
    """Seconds of ``1-02:03:04`` or ``02:03.123``."""
    whole, _, fraction = text.partition(".")
    return parse_elapsed(whole) + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def parse_rss(text: str) -> int:
    """Bytes of ``522928K``; 0 where there's nothing."""
    try:
        return parse_size(f"{text[:-1]}{text[-1]}iB" if text[-1:].isalpha() else text)
    except ValueError:
        return 0


def _add(usage: Usage, row: Mapping[str, float]) -> None:
    usage.jobs += int(row.get("jobs", 0))
    usage.cpu_s += row.get("cpu_s", 0.0)
    usage.reserved_cpu_s += row.get("reserved_cpu_s", 0.0)
    usage.longest_s = max(usage.longest_s, row.get("longest_s", 0.0))
    usage.peak_bytes = max(usage.peak_bytes, int(row.get("peak_bytes", 0)))


def _add_results(usage: Usage, attempt: Path, cpus: int) -> None:
    """Without accounting: what the workers measured, their start not included."""
    for task, one in results.read(AttemptPaths(attempt)).items():
        if task.partition("-")[0] != usage.stage:
            continue
        seconds = float(one.get("seconds") or 0)
        _add(
            usage,
            {
                "jobs": 1,
                "cpu_s": one.get("cpu_s") or 0.0,
                "longest_s": seconds,
                "reserved_cpu_s": seconds * cpus,
                "peak_bytes": one.get("peak_bytes") or 0,
            },
        )


def propose(usages: list[Usage], memory: int | None) -> dict[str, str]:
    """``memory`` and ``time`` for the next run of this kind, where others than now would do.

    Parameters
    ----------
    memory
        ``slurm.memory`` of this run in bytes; None: each stage got what plan projects, which is
        proposed to stay unless jobs ran out of it. Less than plan projects is never proposed.
    """
    peak = max((u.peak_bytes for u in usages), default=0)
    longest = max((u.longest_s for u in usages), default=0.0)
    if not peak or not longest:
        return {}
    grown = max(u.grown_bytes for u in usages)
    enough = max(int(peak * _MEMORY_MARGIN), grown, *(u.planned_bytes for u in usages))
    enough = -(-enough // _MEMORY_STEP) * _MEMORY_STEP
    minutes = -(-int(longest * _TIME_MARGIN) // _TIME_STEP_S) * _TIME_STEP_S // 60 or 5
    proposal = {"time": f"{minutes // 60:02d}:{minutes % 60:02d}:00"}
    if grown or (memory is not None and enough < memory):
        proposal = {"memory": f"{enough // 2**20}MiB"} | proposal
    return proposal


def lines(usages: list[Usage], memory: int | None) -> Iterator[str]:
    """The report for people."""
    for u in usages:
        share = f", {u.efficiency:.0%} of what was reserved" if u.efficiency is not None else ""
        peak = (
            f"; memory at most {human_bytes(u.peak_bytes)} of {human_bytes(u.reserved_bytes)}"
            if u.peak_bytes
            else ""
        )
        yield (
            f"{u.stage:<10} {u.jobs:,} jobs, longest {human_time(u.longest_s)}, "
            f"{human_time(u.cpu_s)} CPU{share}{peak}"
        )
    proposal = propose(usages, memory)
    if proposal:
        asked = ", ".join(
            f'{k}: "{v}"' if k == "time" else f"{k}: {v}" for k, v in proposal.items()
        )
        ran_out = [u.stage for u in usages if u.grown_bytes]
        why = f" (jobs of {', '.join(ran_out)} ran out of memory with less)" if ran_out else ""
        yield f"next time  slurm: {{{asked}}} would be enough{why}"


def write(attempt: Path, usages: list[Usage], memory: int | None) -> None:
    """Keep the report in the attempt."""
    data = {"stages": [asdict(u) for u in usages], "proposal": propose(usages, memory)}
    files.write_atomic(AttemptPaths(attempt).jobs / "usage.json", json.dumps(data).encode())
