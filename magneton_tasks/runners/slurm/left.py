"""Job arrays of a work directory that are in the queue: found by name and comment, whoever submitted them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from magneton_tasks.errors import EXIT_OK, TemporaryError
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.script import PREFIX

_SQUEUE = ("squeue", "--noheader", "--format=%F|%T|%j|%k")


@dataclass(frozen=True, slots=True)
class LeftJob:
    """A job array of a volume; ``run`` as the job's comment says."""

    job: str
    state: str
    name: str
    run: str

    def __str__(self) -> str:
        return f"job {self.job} ({self.name}, {self.state}) of run {self.run}"


def of_work(slurm: Slurm, work: str) -> list[LeftJob]:
    """The arrays in the queue that work in a directory.

    Raises
    ------
    TemporaryError
        Slurm doesn't answer.
    """
    answer = slurm.run(_SQUEUE)
    if answer.code != EXIT_OK:
        raise TemporaryError(f"squeue failed: {answer.err.strip()}", "try again once Slurm answers")
    return list({j.job: j for j in parse(answer.out, work)}.values())


def parse(text: str, work: str) -> Iterator[LeftJob]:
    """The jobs whose comment names this work directory."""
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, rest = rest.partition("|")
        name, _, comment = rest.partition("|")
        head, _, directory = comment.partition(" work=")
        if name.startswith(f"{PREFIX}-") and directory == work and job.isdigit():
            run = head.partition(" run=")[2].partition(" task=")[0]
            yield LeftJob(job, state, name, run)


def cancel(slurm: Slurm, jobs: Sequence[LeftJob]) -> list[str]:
    """Cancel arrays; their ids.

    Raises
    ------
    TemporaryError
        Slurm doesn't answer, or they are another user's.
    """
    ids = [j.job for j in jobs]
    if ids:
        answer = slurm.run(("scancel", "--quiet", *ids))
        if answer.code != EXIT_OK:
            raise TemporaryError(
                f"{', '.join(map(str, jobs))} can't be cancelled: scancel: "
                f"{answer.err.strip() or answer.code}",
                "try again once Slurm answers; another user's jobs only that user can cancel",
            )
    return ids
