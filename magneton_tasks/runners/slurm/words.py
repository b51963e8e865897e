"""Whole phrases of Slurm and the kernel, in the lines that are theirs; pure.

States and exit codes decide first. Where they leave it open, a line counts only if it begins as the
daemon or the program that would write it begins its lines: paths and messages of ours may hold any word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: slurmstepd in a job's log, srun for a step, and the kernel where its log is mixed in.
_OUT_OF_MEMORY = re.compile(
    r"(slurmstepd(-\S+)?: |\[[^\]]+\] )error: Detected \d+ oom[-_]kill event(s|\(s\))? in "
    r"|slurmstepd(-\S+)?: error: ((Job|Step|StepId=)\s*\S+ e|E)xceeded (job |step |virtual )?memory limit"
    r"|srun: error: \S+: tasks? [\d,-]+: Out Of Memory$"
    r"|(kernel: )?(\[ *\d+\.\d+\] )?(Memory cgroup o|O)ut of memory: Kill(ed)? process \d+"
)
#: How lines begin that Slurm's programs write to standard error.
_OF_PROGRAMS = re.compile(
    r"(sbatch|squeue|sacct|scancel|scontrol|sinfo|srun|slurm(_\w+)?)( error)?: "
)
#: How the line below an error begins that says what to do, see `errors.MagnetonError`.
ADVICE = "what to do:"


def tells_out_of_memory(line: str) -> bool:
    """Whether a line of a job's log says that the kernel, or Slurm, ended it for its memory."""
    return _OUT_OF_MEMORY.match(line.strip()) is not None


def last_words(lines: Sequence[str]) -> str:
    """What a log ends with: that memory ran out, else its last error, else its last line."""
    told = [line.strip() for line in lines]
    told = [line for line in told if line and not line.startswith("{")]
    memory = [line for line in told if tells_out_of_memory(line)]
    errors = [line for line in told if "error:" in line.lower()]
    return (memory or errors or told or [""])[-1][:300]


def last_advice(lines: Sequence[str]) -> str:
    """What to do, as the worker's last error in a log says; empty where none does."""
    told = [line.strip() for line in lines]
    found = [line.removeprefix(ADVICE).strip() for line in told if line.startswith(ADVICE)]
    return found[-1] if found else ""


def of_programs(text: str) -> str:
    """The lines of standard error that Slurm's programs wrote; over ssh others write there, too."""
    return "\n".join(line for line in text.splitlines() if _OF_PROGRAMS.match(line.strip()))
