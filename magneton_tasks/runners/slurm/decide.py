"""What follows from how jobs ended: done, tried again with what, or failed and why; pure.

Success is what Slurm **and** the manifest say: a job that COMPLETED without its records is an
error, and a job that was lost after its last record is a success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    EXIT_BUG,
    EXIT_CONFIG,
    EXIT_NO_INPUT,
    EXIT_TEMPORARY,
    EXIT_USAGE,
    RETRYABLE_EXITS,
    MagnetonError,
)
from magneton_tasks.runners.resources import OUT_OF_MEMORY, more_memory
from magneton_tasks.runners.slurm.states import COMPLETED, GONE, TaskState
from magneton_tasks.schema_slurm import Slurm as Settings
from magneton_tasks.units import human_bytes, human_time

#: Exit codes of ours that no other node mends.
_HOPELESS = frozenset({EXIT_USAGE, EXIT_BAD_DATA, EXIT_NO_INPUT, EXIT_BUG, EXIT_CONFIG})
#: How long before its end a job may have been warned, in seconds: ``slurm.signal_s`` at most, and
#: Slurm's signal may come up to a minute earlier than asked, see sbatch(1).
_WARNED_S = 300 + 60
#: More than half of an array must fail for one cause, and at least so many, before the rest is stopped.
STOP_FROM = 5
_SIGKILL = 9


class Cause(StrEnum):
    """Why a job didn't do its part; in words for people."""

    MEMORY = "out of memory"
    TIME = "out of time"
    NODE = "node failed"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    LOST = "lost"
    TEMPORARY = "failed, and a retry may help"
    SILENT = "completed without its records"
    HOPELESS = "failed"
    EXIT = "failed to run"


#: What resubmitting mends.
_RETRIED = frozenset(
    {Cause.MEMORY, Cause.TIME, Cause.NODE, Cause.PREEMPTED, Cause.LOST, Cause.TEMPORARY, Cause.EXIT}
)
#: Causes that lie in the node.
_OF_NODE = frozenset({Cause.NODE, Cause.EXIT})
#: Causes that a whole array shares without anything being wrong with the work.
_NOT_SHARED = frozenset({Cause.NODE, Cause.PREEMPTED, Cause.CANCELLED, Cause.LOST})


@dataclass(frozen=True, slots=True)
class Need:
    """What a part's job asks for: memory in bytes, time in seconds."""

    memory: int
    time_s: int


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
        Where the job's log is, and ``said`` its last words.
    """

    part: int
    job: str
    state: TaskState
    missing: int
    failures: Sequence[Mapping[str, Any]] = ()
    log: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A part that isn't done, and why."""

    part: int
    job: str
    cause: Cause
    node: str
    exit_code: int
    words: str
    hint: str | None = None
    log: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that later tries may have; ``time_s`` None: there is no limit."""

    memory: int
    time_s: int | None


@dataclass
class Verdict:
    """What to do with parts whose jobs have ended.

    Attributes
    ----------
    done
        Parts that are complete.
    again
        Parts to submit again, with what.
    failures
        Parts that can't be mended.
    exclude
        Nodes to keep away from.
    notes
        Lines for the log.
    """

    done: list[int] = field(default_factory=list)
    again: dict[int, Need] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# ------------------------------------------------------------------ causes
def cause_of(end: PartEnd, need: Need) -> Cause:
    """Why a job with missing blocks ended."""
    state, reason = end.state.state, end.state.reason
    if state == COMPLETED:
        return Cause.SILENT
    if state == GONE:
        return Cause.LOST
    if state == "OUT_OF_MEMORY" or any(f.get(OUT_OF_MEMORY) for f in end.failures):
        return Cause.MEMORY
    if state in ("TIMEOUT", "DEADLINE"):
        return Cause.TIME
    if state in ("NODE_FAIL", "BOOT_FAIL", "LAUNCH_FAILED"):
        return Cause.NODE
    if state == "PREEMPTED":
        return Cause.PREEMPTED
    if state == "CANCELLED" and end.state.signal != _SIGKILL:
        return Cause.CANCELLED
    # without cgroups Slurm kills what is too large, and calls it a failure (JobLaunchFailure)
    if end.state.signal == _SIGKILL or "oom" in end.said.lower() or "OutOfMemory" in reason:
        return Cause.MEMORY
    code = end.state.exit_code
    if code == EXIT_TEMPORARY and end.state.elapsed_s >= need.time_s - _WARNED_S > 0:
        return Cause.TIME
    if code in RETRYABLE_EXITS:
        return Cause.TEMPORARY
    if code in _HOPELESS:
        return Cause.HOPELESS
    return Cause.EXIT


# ------------------------------------------------------------------ the verdict
def decide(
    ends: Iterable[PartEnd],
    needs: Mapping[int, Need],
    tries: Mapping[int, int],
    settings: Settings,
    bounds: Bounds,
) -> Verdict:
    """What becomes of parts whose jobs have ended.

    Parameters
    ----------
    needs
        What each part's job had.
    tries
        How often each part has been tried, this try included.
    """
    verdict = Verdict()
    for end in ends:
        if not end.missing:
            verdict.done.append(end.part)
            if end.state.state not in (COMPLETED, GONE):
                verdict.notes.append(
                    f"job {end.job}_{end.part} ended {end.state.state}, and its part is complete"
                )
            continue
        need = needs[end.part]
        cause = cause_of(end, need)
        more = _more(cause, need, settings, bounds)
        if cause not in _RETRIED or more is None or tries[end.part] >= settings.tries:
            verdict.failures.append(_failure(end, cause, need, tries[end.part], more is None))
            continue
        verdict.again[end.part] = more
        verdict.notes.append(_again(end, cause, more, need))
        if cause in _OF_NODE and end.state.node and end.state.node not in verdict.exclude:
            verdict.exclude.append(end.state.node)
    return verdict


def _more(cause: Cause, need: Need, settings: Settings, bounds: Bounds) -> Need | None:
    """What the next try gets; None where it would have to be more than there may be."""
    if cause is Cause.MEMORY:
        memory = more_memory(need.memory, settings.memory_growth, bounds.memory)
        return None if memory is None else Need(memory, need.time_s)
    if cause is Cause.TIME:
        most = bounds.time_s
        if most is not None and need.time_s >= most:
            return None
        longer = int(need.time_s * settings.time_growth)
        return Need(need.memory, longer if most is None else min(longer, most))
    return need


def shared_cause(ends: Sequence[PartEnd], of: int, needs: Mapping[int, Need]) -> Cause | None:
    """The cause for which more than half of an array of ``of`` indexes failed, if there's one."""
    counts = Counter(cause_of(e, needs[e.part]) for e in ends if e.missing)
    for cause, n in counts.most_common(1):
        if cause not in _NOT_SHARED and n >= STOP_FROM and 2 * n > of:
            return cause
    return None


# ------------------------------------------------------------------ words
def _where(end: PartEnd) -> str:
    node = f" on {end.state.node}" if end.state.node else ""
    return f"job {end.job}_{end.part}{node}"


def _again(end: PartEnd, cause: Cause, more: Need, need: Need) -> str:
    what = f"{_where(end)}: {cause}"
    if cause is Cause.MEMORY:
        return (
            f"{what} with {human_bytes(need.memory)}; trying again with {human_bytes(more.memory)}"
        )
    if cause is Cause.TIME:
        return (
            f"{what} after {human_time(need.time_s)}; trying again with {human_time(more.time_s)}"
        )
    return f"{what}; trying again"


def _failure(end: PartEnd, cause: Cause, need: Need, tries: int, at_most: bool) -> Failure:
    code, hint = EXIT_TEMPORARY, "rerun: finished blocks stay"
    words = f"{_where(end)}: {cause}"
    told = next((f for f in end.failures if f.get("cause")), None)
    if cause is Cause.MEMORY:
        words += f" with {human_bytes(need.memory)}"
        code, hint = EXIT_CONFIG, "raise slurm.max_memory, or take a smaller block.size"
    elif cause is Cause.TIME:
        words += f" after {human_time(need.time_s)}"
        code, hint = EXIT_CONFIG, "raise slurm.max_time, or lower slurm.target_minutes"
    elif cause is Cause.CANCELLED:
        words += f" {end.state.reason}" if end.state.reason.startswith("by ") else ""
        hint = "if that wasn't meant, rerun: finished blocks stay"
    elif cause is Cause.SILENT:
        words += f": {end.missing} are missing"
        code = EXIT_BUG
        hint = "do the compute nodes see the same paths.work? else raise paths.visibility_wait_s"
    elif cause in (Cause.HOPELESS, Cause.EXIT, Cause.TEMPORARY):
        code = end.state.exit_code or EXIT_TEMPORARY
        words += f" with exit code {end.state.exit_code}"
        hint = "see its log, and slurm.prelude and slurm.python" if cause is Cause.EXIT else hint
        code = code if code in _HOPELESS | RETRYABLE_EXITS else EXIT_CONFIG
    if told is not None:
        words += f": {told['cause']}"
        hint = str(told["hint"]) if told.get("hint") else hint
    elif end.said and cause in (Cause.HOPELESS, Cause.EXIT, Cause.TEMPORARY):
        words += f": {end.said}"
    if tries > 1:
        words += f" ({tries} tries{'; no more may be had' if at_most else ''})"
    return Failure(end.part, end.job, cause, end.state.node, code, words, hint, end.log)


def error_of(task: str, failures: Sequence[Failure], stopped: Cause | None = None) -> MagnetonError:
    """One error for all parts that failed, by cause, with indexes, nodes and logs."""
    lines = []
    for cause in dict.fromkeys(f.cause for f in failures):
        those = [f for f in failures if f.cause is cause]
        lines.append(f"{len(those)} {cause}: {those[0].words}")
        lines += [f"  {f.words}" for f in those[1:3]]
        if len(those) > 3:
            some = ", ".join(f"{f.job}_{f.part}" for f in those[3:13])
            lines.append(f"  and {some}{', ...' if len(those) > 13 else ''}")
        if those[0].log:
            lines.append(f"  log: {those[0].log}")
    why = (
        f"{task}: more than half of the array failed for the same cause ({stopped}); the rest was stopped: "
        if stopped is not None
        else f"{task}: "
    )
    retryable = [f.exit_code for f in failures if f.exit_code in RETRYABLE_EXITS]
    error = MagnetonError(
        why + "\n  ".join(lines), next((f.hint for f in failures if f.hint), None)
    )
    hopeless = [f.exit_code for f in failures if f.exit_code not in RETRYABLE_EXITS]
    error.exit_code = max(hopeless or retryable or [EXIT_TEMPORARY])
    return error
