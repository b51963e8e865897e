"""What a step of a batch asks of whoever follows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from magneton_tasks.errors import MagnetonError


@dataclass(frozen=True, slots=True)
class Wait:
    """Watch these jobs (`states.reference`)."""

    jobs: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing is wrong: a limit, or the scheduler doesn't answer. Try again after ``seconds``."""

    seconds: float
    why: str
    jobs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The scheduler and the manifest say so; ``result`` as a worker tells it."""

    result: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """For good; what was left in the queue is cancelled.

    ``by_somebody``: who cancelled jobs wants no other try, whatever the exit code allows.
    """

    error: MagnetonError
    notes: tuple[str, ...] = ()
    by_somebody: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Another try owns the batch now: leave it alone."""

    notes: tuple[str, ...] = ()


Step = Wait | Later | Done | Failed | Lost
