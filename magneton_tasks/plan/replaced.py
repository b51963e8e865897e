"""A result that a run would write over, as a plan holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Replaced:
    """A result in the output that apply, with a plan's settings, writes over.

    Attributes
    ----------
    output
        Its URL.
    state
        Whether verify proved it complete; unknown: nothing of its run is left.
    run
        That made it; None: unknown.
    finished_s
        When it was proved complete, in seconds since 1970; None: never, or unknown.
    differs
        Why the new one is another: ``key: before -> now``, or a sentence.
    """

    output: str
    state: Literal["finished", "unfinished", "unknown"]
    run: str | None
    finished_s: float | None
    differs: tuple[str, ...]

    @classmethod
    def from_data(cls, data: Mapping[str, Any] | None) -> Replaced | None:
        """Back from what JSON makes of it."""
        return cls(**{**data, "differs": tuple(data["differs"])}) if data else None
