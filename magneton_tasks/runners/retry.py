"""What is tried again: for which cause, how often, and with how much more; pure.

A runner says why a try of a piece of work failed (`Cause`), and asks here what follows. Tries are
counted by cause: a job that ran out of memory twice still gets its tries if its node fails then.

What each exit code means for a retry stands in `errors` (`FINAL_EXITS`, `RETRYABLE_EXITS`, `worst`).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY, FINAL_EXITS, RETRYABLE_EXITS

#: Tries of a batch on this machine or in a container, for each cause.
TRIES = 2
#: What Airflow adds to a task's first try, and how long it waits before each, in seconds.
TASK_RETRIES, TASK_PAUSE_S = 2, 10.0


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


def helps_here(code: int) -> bool:
    """Whether the same command may well work at once on the same machine.

    A full disk (74) stays full, and what can't be started won't start.
    """
    return code < 0 or code == EXIT_TEMPORARY


def without_more_memory(code: int) -> int:
    """The exit code of what ran out of all the memory that there is: that is for the config to mend."""
    return EXIT_CONFIG if code == EXIT_TEMPORARY else code


def more(cause: Cause, need: Need, policy: Policy) -> Need | None:
    """What the next try gets; None if it would have to be more than there may be."""
    if cause is Cause.MEMORY:
        memory = more_memory(need.memory, policy.memory_growth, policy.memory)
        return None if memory is None else Need(memory, need.time_s)
    if cause is Cause.TIME:
        time_s = _more_time(need.time_s, policy.time_growth, policy.time_s)
        return None if time_s is None else Need(need.memory, time_s)
    return need


def more_memory(allowed: int, growth: float, most: int) -> int | None:
    """What a worker gets after it ran out of ``allowed`` bytes; None if it had the most already."""
    return min(int(allowed * growth), most) if allowed < most else None


def _more_time(allowed_s: int, growth: float, most_s: int | None) -> int | None:
    if most_s is None:
        return int(allowed_s * growth)
    return min(int(allowed_s * growth), most_s) if allowed_s < most_s else None
