"""States of the indexes of a job array, in the few words that every batch scheduler's come down to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from magneton_tasks.base.grid import to_ranges
from magneton_tasks.runners.retry import Cause

_INDEXES = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


class Phase(StrEnum):
    """Where an index stands."""

    WAITING = "waiting"
    #: waits for what will hardly come
    STUCK = "stuck"
    RUNNING = "running"
    #: over, unless the scheduler itself starts it again
    INTERRUPTED = "interrupted"
    DONE = "done"
    FAILED = "failed"
    #: nobody knows it any more: the manifest decides
    GONE = "gone"


_OVER = frozenset({Phase.INTERRUPTED, Phase.DONE, Phase.FAILED, Phase.GONE})


@dataclass(frozen=True, slots=True)
class TaskState:
    """The state of one index of an array.

    Attributes
    ----------
    word
        The scheduler's own word for it, for messages.
    reason
        Why it waits, or why it ended.
    exit_code, signal
        None: not known (yet).
    elapsed_s
        Since it was started, the last time.
    cause
        Why it ended, if the scheduler itself says so, whatever a log or a record says.
    """

    phase: Phase
    word: str = ""
    reason: str = ""
    node: str = ""
    exit_code: int | None = None
    signal: int | None = None
    elapsed_s: int = 0
    cause: Cause | None = None

    @property
    def is_over(self) -> bool:
        return self.phase in _OVER

    @property
    def is_running(self) -> bool:
        return self.phase is Phase.RUNNING

    @property
    def has_failed(self) -> bool:
        """Whether it is over, and not as it should be."""
        return self.is_over and self.phase is not Phase.DONE

    @property
    def is_known(self) -> bool:
        """Whether all is known that the scheduler tells of its end."""
        return self.phase in (Phase.DONE, Phase.GONE) or self.exit_code is not None

    @property
    def ending(self) -> TaskState:
        """The same while its end isn't known in full."""
        return TaskState(Phase.RUNNING, "ending", self.word, self.node)


GONE = TaskState(Phase.GONE, "gone")
#: states by job id and index
States = dict[str, dict[int, TaskState]]


# ------------------------------------------------------------------ references
def reference(job: str, indexes: Iterable[int]) -> str:
    """A job and those of its indexes that matter: ``1234_[0-4,7]``."""
    return f"{job}_[{expression(indexes)}]"


def split(reference: str) -> tuple[str, list[int]]:
    """Job id and indexes of a `reference`."""
    job, _, rest = reference.partition("_")
    return job, parse_indexes(rest.strip("[]"))


def expression(indexes: Iterable[int]) -> str:
    """``0-4,7``: indexes as ranges."""
    return ",".join(f"{b}-{e - 1}" if e - b > 1 else str(b) for b, e in to_ranges(sorted(indexes)))


def parse_indexes(text: str) -> list[int]:
    """Indexes of ``0-4,7``, ``[0-9:2]`` or ``5-99%20``; none if it isn't an array's."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        match = _INDEXES.fullmatch(part.strip())
        if match is not None:
            first, last, step = (int(v) if v else None for v in match.groups())
            assert first is not None
            found.extend(range(first, (first if last is None else last) + 1, step or 1))
    return found


# ------------------------------------------------------------------ compact data
Data = dict[str, list[list[object]]]


def to_data(states: States) -> Data:
    """States as JSON, indexes of the same state together; elapsed time and node are kept of failures only."""
    data: Data = {}
    for job, tasks in states.items():
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, t in tasks.items():
            elapsed, node = (t.elapsed_s, t.node) if t.has_failed else (0, "")
            key = (t.phase, t.word, t.reason, node, t.exit_code, t.signal, elapsed, t.cause)
            groups.setdefault(key, []).append(index)
        data[job] = [[expression(indexes), *key] for key, indexes in groups.items()]
    return data


def of_data(data: Mapping[str, Sequence[Sequence[object]]]) -> States:
    """What `to_data` wrote."""
    return {job: dict(_expanded(groups)) for job, groups in data.items()}


def _expanded(groups: Sequence[Sequence[object]]) -> Iterator[tuple[int, TaskState]]:
    for indexes, phase, word, reason, node, exit_code, signal, elapsed_s, cause in groups:
        state = TaskState(
            Phase(str(phase)),
            str(word),
            str(reason),
            str(node),
            cast("int | None", exit_code),
            cast("int | None", signal),
            cast("int", elapsed_s),
            None if cause is None else Cause(str(cause)),
        )
        for index in parse_indexes(str(indexes)):
            yield index, state
