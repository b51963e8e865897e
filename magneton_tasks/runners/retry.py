"""What is tried again: for which cause, how often, and with how much more; pure.

A runner says why a try of a piece of work failed (`Cause`), and asks here what follows. Tries are
counted by cause: a job that ran out of memory twice still gets its tries if its node fails then.

On this machine, in processes or containers, all that is one `Tries`. On a cluster `arrays.decide`
looks at many jobs together; how often they are tried, and with how much more, says the config
(``tries``, ``memory_growth``, ``time_growth``, ``max_memory``, ``max_time`` in `config.slurm`).

What each exit code means for a retry stands in `errors` (`FINAL_EXITS`, `RETRYABLE_EXITS`, `worst`).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from magneton_tasks.base.units import human_bytes
from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY, FINAL_EXITS, RETRYABLE_EXITS

#: Tries of a batch on this machine or in a container, for each cause that more memory doesn't mend.
TRIES = 2
#: What Airflow adds to a task's first try, and how long it waits before each, in seconds.
TASK_RETRIES, TASK_PAUSE_S = 2, 10.0


#: What a shell, a container's engine, or whatever else started a command ends with if SIGKILL ended it.
KILLED = 128 + signal.SIGKILL


class Cause(StrEnum):
    """Why a piece of work wasn't done; in words for people."""

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


#: What another try mends, on another node at the latest.
_MENDED = frozenset(
    {Cause.MEMORY, Cause.TIME, Cause.NODE, Cause.PREEMPTED, Cause.LOST, Cause.TEMPORARY, Cause.EXIT}
)
#: How often tries of one piece of work failed, by cause.
Failed = Mapping[Cause, int]


@dataclass(frozen=True, slots=True)
class Need:
    """What a try asks for: memory in bytes, time in seconds."""

    memory: int
    time_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a cause is tried, and what later tries get.

    Attributes
    ----------
    tries
        Of each cause.
    memory_growth, time_growth
        Factors from a try that ran out of it to the next.
    memory
        The most that a try may have, in bytes.
    time_s
        The longest that a try may take, in seconds; None: there is no limit.
    """

    tries: int
    memory_growth: float
    time_growth: float
    memory: int
    time_s: int | None


def cause_of_exit(code: int, *, ran_out_of_memory: bool = False) -> Cause:
    """Why a process ended that failed; ``code`` < 0: minus the signal that killed it."""
    if code in FINAL_EXITS:
        return Cause.HOPELESS
    # a kernel whose memory runs out kills with SIGKILL
    if ran_out_of_memory or code == -signal.SIGKILL:
        return Cause.MEMORY
    return Cause.TEMPORARY if code < 0 or code in RETRYABLE_EXITS else Cause.EXIT


def counted(failed: Failed, cause: Cause) -> dict[Cause, int]:
    """``failed`` with one more try that failed for ``cause``."""
    return {**failed, cause: failed.get(cause, 0) + 1}


def is_left(failed: Failed, cause: Cause, tries: int) -> bool:
    """Whether there is a try left after one failed for ``cause``, which ``failed`` counts already."""
    return cause in _MENDED and failed.get(cause, 0) < tries


@dataclass(frozen=True, slots=True)
class Step:
    """What follows a try that failed: another, or the end of it.

    Attributes
    ----------
    exit_code
        What the work ends with, unless it is tried again.
    words
        What follows, for people.
    """

    again: bool
    exit_code: int
    words: str


@dataclass
class Tries:
    """The tries of one piece of work on this machine, in processes or containers.

    Attributes
    ----------
    most
        What a try may take at the most, in bytes.
    memory
        What the next try may take, in bytes; None: what plan projected.
    growth
        Factor from a try that ran out of memory to the next; by itself the next gets the most.
    how
        How those with more are run, for people: ``, alone``.
    """

    most: int
    memory: int | None = None
    growth: float = inf
    how: str = ""
    _failed: Failed = field(default_factory=dict)

    def after(self, code: int, cause: Cause) -> Step:
        """What follows a try that ended with ``code`` for ``cause``; then ``memory`` is the next one's."""
        self._failed = counted(self._failed, cause)
        if cause is Cause.MEMORY:
            return self._with_more(code)
        again = _helps_here(code) and is_left(self._failed, cause, TRIES)
        return Step(again, code, "trying again" if again else "")

    def _with_more(self, code: int) -> Step:
        more: int | None = self.most
        if self.memory is not None:
            more = _more_memory(self.memory, self.growth, self.most)
        if more is None:  # that is for the config to mend
            code = EXIT_CONFIG if code == EXIT_TEMPORARY else code
            return Step(False, code, "no more is available")
        self.memory = more
        return Step(True, code, f"trying again{self.how} with {human_bytes(more)}")


def _helps_here(code: int) -> bool:
    """Whether the same command may well work at once on the same machine.

    A full disk (74) stays full, and what can't be started won't start.
    """
    return code < 0 or code == EXIT_TEMPORARY


def more(cause: Cause, need: Need, policy: Policy) -> Need | None:
    """What the next try gets; None if it would have to be more than there may be."""
    if cause is Cause.MEMORY:
        memory = _more_memory(need.memory, policy.memory_growth, policy.memory)
        return None if memory is None else Need(memory, need.time_s)
    if cause is Cause.TIME:
        time_s = _more_time(need.time_s, policy.time_growth, policy.time_s)
        return None if time_s is None else Need(need.memory, time_s)
    return need


def _more_memory(allowed: int, growth: float, most: int) -> int | None:
    """What a worker gets after it ran out of ``allowed`` bytes; None if it had the most already."""
    return int(min(allowed * growth, most)) if allowed < most else None


def _more_time(allowed_s: int, growth: float, most_s: int | None) -> int | None:
    if most_s is None:
        return int(allowed_s * growth)
    return min(int(allowed_s * growth), most_s) if allowed_s < most_s else None
