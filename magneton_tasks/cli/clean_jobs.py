"""``magneton clean --what jobs``: cancel the jobs of runs that are over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from magneton_tasks.cli.left_behind import LeftBehind
from magneton_tasks.config import RunConfig
from magneton_tasks.errors import EXIT_OK, TemporaryError
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.script import PREFIX
from magneton_tasks.stages import current

_SQUEUE = ("squeue", "--noheader", "--format=%F|%T|%j|%k")


@dataclass(frozen=True, slots=True)
class Job:
    """A job array of a volume; ``run`` as the job's comment says."""

    job: str
    state: str
    name: str
    run: str


def clean(config: RunConfig, dry_run: bool, yes: bool, as_json: bool) -> int:
    """List, ask, cancel; returns the exit code. Parameters as those of `cli.clean.clean`.

    Raises
    ------
    SlurmBusyError
        Slurm doesn't answer.
    Quit
        The question was left.
    """
    slurm = Slurm.of_config(config)
    left = LeftBehind(
        config.paths.work, "jobs", "cancel", "cancelled", over(slurm, config),
        _line, asdict, lambda found: _cancel(slurm, found),
    )  # fmt: skip
    return left.clean(dry_run, yes, as_json)


def over(slurm: Slurm, config: RunConfig) -> list[Job]:
    """The volume's jobs in the queue, but for those of the run that has its lease."""
    holder = current.holder_of(Path(config.paths.work))
    answer = slurm.run(_SQUEUE)
    if answer.code != EXIT_OK:
        raise TemporaryError(f"squeue failed: {answer.err.strip()}", "try again")
    found = {j.job: j for j in parse(answer.out, config.paths.work)}
    return [j for j in found.values() if holder is None or j.run != holder[0].run]


def parse(text: str, work: str) -> Iterator[Job]:
    """The jobs whose comment names this work directory."""
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, rest = rest.partition("|")
        name, _, comment = rest.partition("|")
        head, _, directory = comment.partition(" work=")
        if name.startswith(f"{PREFIX}-") and directory == work and job.isdigit():
            run = head.partition(" run=")[2].partition(" task=")[0]
            yield Job(job, state, name, run)


def _line(job: Job) -> str:
    return f"job {job.job}: {job.name}, {job.state}, of run {job.run}"


def _cancel(slurm: Slurm, jobs: Sequence[Job]) -> list[str]:
    ids = [j.job for j in jobs]
    if ids:
        answer = slurm.run(("scancel", "--quiet", *ids))
        if answer.code != EXIT_OK:
            raise TemporaryError(f"scancel failed: {answer.err.strip()}", "try again")
    return ids
