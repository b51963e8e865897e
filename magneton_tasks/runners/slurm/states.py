"""What squeue, sacct and scontrol print, as states of the indexes of a job array."""

from __future__ import annotations

import re

from magneton_tasks.errors import FINAL_EXITS
from magneton_tasks.runners.arrays.states import Phase, States, TaskState, parse_indexes
from magneton_tasks.runners.retry import Cause

#: Arguments of squeue: one line an index, or one for all that still wait.
SQUEUE = ("squeue", "--noheader", "--states=all", "--format=%F|%K|%T|%M|%N|%r")
SACCT = (
    "sacct", "--noheader", "--parsable2", "--allocations",
    "--format=JobID,State,ExitCode,ElapsedRaw,NodeList,Reason",
)  # fmt: skip
SCONTROL = ("scontrol", "--oneliner", "show", "job")

_RUNNING = frozenset(
    {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "SIGNALING", "STAGE_OUT"}
)
_WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SPECIAL_EXIT", "RESV_DEL_HOLD", "STOPPED"}
)  # fmt: skip
#: Slurm may yet start these again, if jobs are requeued
_REQUEUED = frozenset({"NODE_FAIL", "PREEMPTED", "BOOT_FAIL"})
#: Why a job waits that will hardly ever start.
_STUCK = (
    "PartitionTimeLimit", "MaxMemPerLimit", "BadConstraints", "PartitionNodeLimit", "InvalidAccount",
    "InvalidQOS", "AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit",
    "QOSMaxMemoryPerJob", "AssocMaxMemPerJob", "JobHeldUser", "JobHeldAdmin", "launch failed requeued held",
)  # fmt: skip
#: States that say it all, whatever a log or an earlier record says.
_CAUSES = {
    "OUT_OF_MEMORY": Cause.MEMORY, "TIMEOUT": Cause.TIME, "DEADLINE": Cause.TIME,
    "NODE_FAIL": Cause.NODE, "BOOT_FAIL": Cause.NODE, "LAUNCH_FAILED": Cause.NODE,
    "PREEMPTED": Cause.PREEMPTED,
}  # fmt: skip
#: Who cancels a job that takes too much memory, if Slurm doesn't call it a failure.
_BY_SLURM = ("", "by 0")
_SIGKILL = 9

_FIELD = re.compile(r"(\w+)=(\S*)")


def task_state(
    word: str,
    reason: str = "",
    node: str = "",
    exit_code: int | None = None,
    signal: int | None = None,
    elapsed_s: int = 0,
) -> TaskState:
    """A state by Slurm's word for it, in full: ``RUNNING``, ``OUT_OF_MEMORY``, ..."""
    cause = _cause(word, reason, exit_code, signal)
    return TaskState(_phase(word, reason), word, reason, node, exit_code, signal, elapsed_s, cause)


def _phase(word: str, reason: str) -> Phase:
    if word in _RUNNING:
        return Phase.RUNNING
    if word in _WAITING:
        return Phase.STUCK if word == "PENDING" and reason.startswith(_STUCK) else Phase.WAITING
    if word in _REQUEUED:
        return Phase.INTERRUPTED
    return Phase.DONE if word == "COMPLETED" else Phase.FAILED


def _cause(word: str, reason: str, exit_code: int | None, signal: int | None) -> Cause | None:
    """What Slurm itself says of an end; None: exit code and words decide."""
    if word in _CAUSES:
        return _CAUSES[word]
    if word == "CANCELLED" and not (signal == _SIGKILL and reason in _BY_SLURM):
        return Cause.CANCELLED
    # without cgroups Slurm kills what is too large, and calls it a failure (JobLaunchFailure)
    if reason == "OutOfMemory" and exit_code not in FINAL_EXITS:
        return Cause.MEMORY
    return None


# ------------------------------------------------------------------ programs' outputs
def parse_squeue(text: str) -> States:
    """Of `SQUEUE`; of an index that is listed twice (requeued), what isn't over."""
    states: States = {}
    for line in text.splitlines():
        fields = line.strip().split("|", 5)
        if len(fields) != 6 or not fields[0].isdigit():
            continue
        job, indexes, state, elapsed, node, reason = fields
        known = states.setdefault(job, {})
        for index in parse_indexes(indexes):
            new = task_state(state, _said(reason), _said(node), elapsed_s=parse_elapsed(elapsed))
            if index not in known or known[index].is_over:
                known[index] = new
    return states


def parse_sacct(text: str) -> States:
    """Of `SACCT`; what sacct still calls running is left out, because it lags."""
    states: States = {}
    for line in text.splitlines():
        fields = line.strip().split("|", 5)
        if len(fields) != 6:
            continue
        identity, state, code, elapsed, node, reason = fields
        job, underscore, index = identity.partition("_")
        if not underscore:
            continue
        word, _, by = state.partition(" ")
        exit_code, signal = parse_exit(code)
        seconds = int(elapsed) if elapsed.isdigit() else 0
        said = f"by {by.removeprefix('by ')}" if by else _said(reason)
        new = task_state(word.rstrip("+"), said, _said(node), exit_code, signal, seconds)
        if new.is_over:
            for i in parse_indexes(index):
                states.setdefault(job, {})[i] = new
    return states


def parse_scontrol(text: str) -> States:
    """Of `SCONTROL`."""
    states: States = {}
    for line in text.splitlines():
        fields = dict(_FIELD.findall(line))
        job = fields.get("ArrayJobId")
        if job is None or "ArrayTaskId" not in fields or "JobState" not in fields:
            continue
        exit_code, signal = parse_exit(fields.get("ExitCode", ""))
        new = task_state(
            fields["JobState"],
            _said(fields.get("Reason", "")),
            _said(fields.get("NodeList", "")),
            exit_code,
            signal,
            parse_elapsed(fields.get("RunTime", "")),
        )
        for index in parse_indexes(fields["ArrayTaskId"]):
            states.setdefault(job, {})[index] = new
    return states


def parse_exit(text: str) -> tuple[int | None, int | None]:
    """``75:0``: exit code and signal."""
    code, _, signal = text.partition(":")
    return (int(code), int(signal)) if code.isdigit() and signal.isdigit() else (None, None)


def parse_elapsed(text: str) -> int:
    """Seconds of ``1-02:03:04``, ``2:03:04`` or ``3:04``; 0 where it isn't a time."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(p.isdigit() for p in parts) or (dash and not days.isdigit()):
        return 0
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds + (int(days) * 86400 if dash else 0)


def _said(text: str) -> str:
    return "" if text in ("None", "N/A", "(null)", "None assigned", "") else text
