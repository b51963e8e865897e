"""How jobs stood at a moment, and how patiently they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from magneton_tasks.runners.arrays import states
from magneton_tasks.runners.arrays.scheduler import Settings
from magneton_tasks.runners.arrays.states import Phase, States, TaskState


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds: intervals between looks, patience with the accounting, and with the whole."""

    poll_s: float = 10.0
    max_poll_s: float = 120.0
    grace_s: float = 120.0
    give_up_s: float = 7200.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As a config says."""
        s = settings
        return cls(s.poll_s, s.max_poll_s, s.grace_s, s.give_up_s)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of jobs at a moment: states by job id and index; ``warning``: no answer."""

    jobs: States
    warning: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether there is something to decide: an array ended, or more than half of one failed."""
        for tasks in self.jobs.values():
            over = [t for t in tasks.values() if t.is_over]
            failed = [t for t in over if t.has_failed and t.is_known]
            if tasks and (len(over) == len(tasks) or 2 * len(failed) > len(tasks)):
                return True
        return False

    def count(self, which: Callable[[TaskState], bool]) -> int:
        """How many indexes are in a state."""
        return sum(which(t) for tasks in self.jobs.values() for t in tasks.values())

    @property
    def stuck(self) -> dict[str, str]:
        """Jobs that wait for what will hardly come, and why."""
        return {
            job: t.reason
            for job, tasks in self.jobs.items()
            for t in tasks.values()
            if t.phase is Phase.STUCK
        }

    def to_data(self) -> dict[str, Any]:
        """Plain JSON, indexes as ranges."""
        return {"jobs": states.to_data(self.jobs), "warning": self.warning}

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Self:
        """What `to_data` wrote."""
        return cls(states.of_data(data["jobs"]), data["warning"])
