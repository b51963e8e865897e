"""A run's threshold for people: where it is from, and the levels that it lies between."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.work.attempt import Attempt

_SOURCES = {"map": "from the map", "config": "from the config", "run": "set for this run"}


def words(chosen: ThresholdChoice) -> str:
    """Such as ``0.315, from the map: contacts between objects 0.10, inside objects 0.87``."""
    levels = _levels(chosen)
    source = _SOURCES[chosen.source]
    if chosen.value is None:
        return f"{source}: pool finds it when all blocks are done"
    told = f"{source} (samples say about {chosen.value:g})" if chosen.is_guess else None
    return (told or f"{chosen.value:g}, {source}") + (f": {levels}" if levels else "")


def of_plan(plan: Plan) -> str:
    """As `words`; of several thresholds: ``0.25, 0.3, set for this run, an output each``."""
    if not plan.cuts:
        return words(plan.threshold)
    return f"{', '.join(cut.name for cut in plan.cuts)}, set for this run, an output each"


def of_attempt(attempt: Attempt) -> dict[str, Any]:
    """As `as_data`; of several thresholds ``value`` is the text that lists them."""
    told = as_data(attempt.threshold)
    if not attempt.plan.cuts:
        return told
    listed = ", ".join(cut.name for cut in attempt.plan.cuts)
    return told | {"value": listed, "source_words": "an output each"}


def as_data(chosen: ThresholdChoice) -> dict[str, Any]:
    """As pages and ``--json`` have it: the choice, and its words in parts."""
    return {
        **asdict(chosen),
        "warnings": list(chosen.warnings),
        "source_words": _source_words(chosen),
        "levels": _levels(chosen),
    }


def _source_words(chosen: ThresholdChoice) -> str:
    if chosen.value is None:
        return f"{_SOURCES[chosen.source]}, by pool"
    return "by samples of the map" if chosen.is_guess else _SOURCES[chosen.source]


def _levels(chosen: ThresholdChoice) -> str:
    text = ""
    if chosen.between is not None and chosen.inside is not None:
        text = f"contacts between objects {chosen.between:.2f}, inside objects {chosen.inside:.2f}"
    if chosen.now is not None:
        text += f"; the map has changed since, and its own threshold is now {chosen.now:g}"
    return text
