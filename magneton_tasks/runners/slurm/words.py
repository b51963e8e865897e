"""Whole phrases of Slurm and the kernel, in the lines that are theirs; pure.

States and exit codes decide first. Where they leave it open, a line counts only if it begins as the
daemon or the program that would write it begins its lines: paths and messages of ours may hold any word.
"""

from __future__ import annotations

import re

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


def tells_out_of_memory(line: str) -> bool:
    """Whether a line of a job's log says that the kernel, or Slurm, ended it for its memory."""
    return _OUT_OF_MEMORY.match(line.strip()) is not None


def of_programs(text: str) -> str:
    """The lines of standard error that Slurm's programs wrote; over ssh others write there, too."""
    return "\n".join(line for line in text.splitlines() if _OF_PROGRAMS.match(line.strip()))
