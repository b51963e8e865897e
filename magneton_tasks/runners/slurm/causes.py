"""Why a job ended that didn't do its part: by Slurm's state, by its exit code, and last by words; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magneton_tasks.errors import (
    EXIT_TEMPORARY,
    FINAL_EXITS,
    RETRYABLE_EXITS,
)
from magneton_tasks.runners.resources import OUT_OF_MEMORY
from magneton_tasks.runners.retry import Cause, Need
from magneton_tasks.runners.slurm.states import COMPLETED, GONE, TaskState
from magneton_tasks.runners.slurm.words import tells_out_of_memory

#: How long before its end a job may have been warned, in seconds: ``slurm.signal_s`` at most, and
#: Slurm's signal may come up to a minute earlier than asked, see sbatch(1).
_WARNED_S = 300 + 60
_SIGKILL = 9
#: 128 + SIGKILL: what a shell, or whatever else started the worker, ends with
_KILLED = 137


#: Slurm's states that say it all, whatever a log or an earlier record says.
_OF_STATE = {
    COMPLETED: Cause.SILENT, GONE: Cause.LOST, "OUT_OF_MEMORY": Cause.MEMORY, "TIMEOUT": Cause.TIME,
    "DEADLINE": Cause.TIME, "NODE_FAIL": Cause.NODE, "BOOT_FAIL": Cause.NODE,
    "LAUNCH_FAILED": Cause.NODE, "PREEMPTED": Cause.PREEMPTED,
}  # fmt: skip
#: Who cancels a job that takes too much memory, where Slurm doesn't call it a failure.
_BY_SLURM = ("", "by 0")


@dataclass(frozen=True, slots=True)
class PartEnd:
    """How the job of a part ended, and what the manifest says.

    Attributes
    ----------
    missing
        Blocks (cells, groups) of the part without a valid record.
    failures
        What the worker said of those that failed: ``exit_code``, ``cause``, ``hint``, ``key``, ...
    log
        Where the job's log is; ``said`` its last words, ``advised`` what it says to do.
    """

    part: int
    job: str
    state: TaskState
    missing: int
    failures: Sequence[Mapping[str, Any]] = ()
    log: str = ""
    said: str = ""
    advised: str = ""


def cause_of(end: PartEnd, need: Need) -> Cause:
    """Why a job with missing blocks ended: by its state, then by its exit code, then by words."""
    state, code = end.state.state, end.state.exit_code
    if state in _OF_STATE:
        return _OF_STATE[state]
    killed = end.state.signal == _SIGKILL
    if state == "CANCELLED" and not (killed and end.state.reason in _BY_SLURM):
        return Cause.CANCELLED
    if code in FINAL_EXITS:
        return Cause.HOPELESS
    # without cgroups Slurm kills what is too large, and calls it a failure (JobLaunchFailure)
    if killed or end.state.reason == "OutOfMemory":
        return Cause.MEMORY
    if code in RETRYABLE_EXITS | {_KILLED} and any(f.get(OUT_OF_MEMORY) for f in end.failures):
        return Cause.MEMORY
    if code == EXIT_TEMPORARY and end.state.elapsed_s >= need.time_s - _WARNED_S > 0:
        return Cause.TIME
    if code in RETRYABLE_EXITS:
        return Cause.TEMPORARY
    return Cause.MEMORY if tells_out_of_memory(end.said) else Cause.EXIT
