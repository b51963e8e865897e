"""What sacct says that jobs used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from magneton_tasks.base.units import parse_size
from magneton_tasks.runners.arrays.scheduler import Used
from magneton_tasks.runners.slurm.programs import Slurm
from magneton_tasks.runners.slurm.states import parse_elapsed

SACCT = (
    "sacct", "--noheader", "--parsable2", "--format=JobID,State,TotalCPU,ElapsedRaw,AllocCPUS,MaxRSS",
)  # fmt: skip
#: Jobs asked for at once: an argument list is finite.
_AT_ONCE = 200


def usage(slurm: Slurm, jobs: Sequence[str]) -> Iterator[tuple[str, Used]]:
    """What arrays used; nothing without accounting."""
    for begin in range(0, len(jobs), _AT_ONCE):
        answer = slurm.run((*SACCT, f"--jobs={','.join(jobs[begin : begin + _AT_ONCE])}"))
        if answer.code == 0:
            yield from parse(answer.out)


def parse(text: str) -> Iterator[tuple[str, Used]]:
    """Array job id and figures of each line of `SACCT`; a job's own line, or one of its steps'."""
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 6:
            continue
        identity, _, cpu, elapsed, cpus, peak = fields
        job, _, rest = identity.partition("_")
        if "." in rest:
            yield job, Used(peak_bytes=parse_rss(peak))
        elif elapsed.isdigit() and cpus.isdigit():
            seconds = float(elapsed)
            yield job, Used(1, parse_cpu(cpu), seconds, seconds * int(cpus))


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
