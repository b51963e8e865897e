"""What squeue, sacct and scontrol print, as states of the indexes of a job array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from magneton_tasks.base.grid import to_ranges

#: Arguments of squeue: one line an index, or one for all that still wait.
SQUEUE = ("squeue", "--noheader", "--states=all", "--format=%F|%K|%T|%M|%N|%r")
SACCT = (
    "sacct", "--noheader", "--parsable2", "--allocations",
    "--format=JobID,State,ExitCode,ElapsedRaw,NodeList,Reason",
)  # fmt: skip
SCONTROL = ("scontrol", "--oneliner", "show", "job")

COMPLETED = "COMPLETED"
#: of a job that nobody knows any more: the manifest decides
GONE = "GONE"
RUNNING = frozenset({"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "SIGNALING", "STAGE_OUT"})
WAITING = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESIZING", "SPECIAL_EXIT", "RESV_DEL_HOLD", "STOPPED"}
)  # fmt: skip
#: Slurm may yet start these again, where jobs are requeued
REQUEUED = frozenset({"NODE_FAIL", "PREEMPTED", "BOOT_FAIL"})

_INDEXES = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_FIELD = re.compile(r"(\w+)=(\S*)")


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of one index of an array.

    Attributes
    ----------
    state
        Slurm's word, in full: ``RUNNING``, ``OUT_OF_MEMORY``, ...; or `GONE`.
    reason
        Why it waits, or why it ended.
    exit_code, signal
        None: not known (yet).
    elapsed_s
        Since it was started, the last time.
    """

    state: str
    reason: str = ""
    node: str = ""
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: int = 0

    @property
    def is_over(self) -> bool:
        return self.state not in RUNNING and self.state not in WAITING

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def is_known(self) -> bool:
        """Whether all is known that Slurm tells of its end."""
        return self.state in (COMPLETED, GONE) or self.exit_code is not None


#: states by job id and index
States = dict[str, dict[int, TaskState]]


# ------------------------------------------------------------------ references
def reference(job: str, indexes: Iterable[int]) -> str:
    """A job and those of its indexes that matter: ``1234_[0-4,7]``, as Slurm writes it."""
    return f"{job}_[{expression(indexes)}]"


def split(reference: str) -> tuple[str, list[int]]:
    """Job id and indexes of a `reference`."""
    job, _, rest = reference.partition("_")
    return job, parse_indexes(rest.strip("[]"))


def expression(indexes: Iterable[int]) -> str:
    """``0-4,7``: indexes as sbatch takes them."""
    return ",".join(f"{b}-{e - 1}" if e - b > 1 else str(b) for b, e in to_ranges(sorted(indexes)))


def parse_indexes(text: str) -> list[int]:
    """Indexes of ``0-4,7``, ``[0-9:2]`` or ``5-99%20``; none where it isn't an array's."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        match = _INDEXES.fullmatch(part.strip())
        if match is not None:
            first, last, step = (int(v) if v else None for v in match.groups())
            assert first is not None
            found.extend(range(first, (first if last is None else last) + 1, step or 1))
    return found


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
            new = TaskState(state, _said(reason), _said(node), elapsed_s=parse_elapsed(elapsed))
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
        new = TaskState(word.rstrip("+"), said, _said(node), exit_code, signal, seconds)
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
        new = TaskState(
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


# ------------------------------------------------------------------ compact data
def to_data(states: States) -> dict[str, list[list[object]]]:
    """States as JSON, indexes of the same state together; elapsed time is kept of ends only."""
    data: dict[str, list[list[object]]] = {}
    for job, tasks in states.items():
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, t in tasks.items():
            elapsed = t.elapsed_s if t.is_over and t.state != COMPLETED else 0
            node = t.node if t.is_over and t.state != COMPLETED else ""
            key = (t.state, t.reason, node, t.exit_code, t.signal, elapsed)
            groups.setdefault(key, []).append(index)
        data[job] = [[expression(indexes), *key] for key, indexes in groups.items()]
    return data


def of_data(data: dict[str, list[list[object]]]) -> States:
    """What `to_data` wrote."""
    return {job: dict(_expanded(groups)) for job, groups in data.items()}


def _expanded(groups: Sequence[Sequence[object]]) -> Iterator[tuple[int, TaskState]]:
    for indexes, *values in groups:
        state = TaskState(*values)  # type: ignore[arg-type]
        for index in parse_indexes(str(indexes)):
            yield index, state
