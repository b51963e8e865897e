"""Why a job ended that didn't do its part: by its state, by its exit code, and last by words; pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magneton_tasks.errors import EXIT_TEMPORARY, FINAL_EXITS, RETRYABLE_EXITS
from magneton_tasks.runners.arrays.states import Phase, TaskState
from magneton_tasks.runners.retry import KILLED, Cause, Need
from magneton_tasks.work.record import OUT_OF_MEMORY

#: How long before its end a job may have been warned, in seconds: ``signal_s`` at most, and a
#: scheduler's signal may come up to a minute earlier than asked, see sbatch(1).
_WARNED_S = 300 + 60


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
    said_memory
        Whether the last words are those of whoever ended the job for its memory.
    """

    part: int
    job: str
    state: TaskState
    missing: int
    failures: Sequence[Mapping[str, Any]] = ()
    log: str = ""
    said: str = ""
    advised: str = ""
    said_memory: bool = False


def cause_of(end: PartEnd, need: Need) -> Cause:
    """Why a job with missing blocks ended: by its state, then by its exit code, then by words."""
    state, code = end.state, end.state.exit_code
    if state.phase is Phase.DONE:
        return Cause.SILENT
    if state.phase is Phase.GONE:
        return Cause.LOST
    if state.cause is not None:
        return state.cause
    if code in FINAL_EXITS:
        return Cause.HOPELESS
    # without cgroups a job that is too large is killed, and called a failure
    if state.signal == signal.SIGKILL:
        return Cause.MEMORY
    if code in RETRYABLE_EXITS | {KILLED} and any(f.get(OUT_OF_MEMORY) for f in end.failures):
        return Cause.MEMORY
    if code == EXIT_TEMPORARY and state.elapsed_s >= need.time_s - _WARNED_S > 0:
        return Cause.TIME
    if code in RETRYABLE_EXITS:
        return Cause.TEMPORARY
    return Cause.MEMORY if end.said_memory else Cause.EXIT
