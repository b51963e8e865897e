"""The attempt before another one, and what differs between them, in words."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from magneton_tasks.config.differences import THRESHOLD, differing
from magneton_tasks.errors import MagnetonError
from magneton_tasks.stages.planning.attempt_directory import frozen_settings
from magneton_tasks.work import attempts, threshold_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.frozen import plan_of
from magneton_tasks.work.paths import AttemptPaths

Data = dict[str, Any]


def attempt_before(attempt: Attempt) -> AttemptPaths | None:
    """The newest attempt of this work directory that was planned before this one."""
    planned_s = attempt.paths.plan.stat().st_mtime
    others = (f for f in attempts.newest_first(attempt.work) if f.paths.root != attempt.paths.root)
    return next((f.paths for f in others if f.time_s <= planned_s), None)


def told(attempt: Attempt) -> Data | None:
    """The attempt before and what differs from it; None: there was none that can be read.

    Returns
    -------
    dict
        ``run``, ``attempt``, ``same_run`` (whether it is an attempt of the same run), and
        ``differs``: sentences, and settings as ``key: before -> now``; none: nothing differs.
    """
    with suppress(OSError):
        before = attempt_before(attempt)
        data = attempts.plan_data(before) if before is not None else None
        if before is not None and data is not None:
            return {
                "run": str(data.get("run")),
                "attempt": before.number,
                "same_run": data.get("run") == attempt.plan.run,
                "differs": _differs(attempt, before, data),
            }
    return None


def _differs(attempt: Attempt, before: AttemptPaths, data: Data) -> list[str]:
    lines, plan = [], attempt.plan
    if data.get("version") != plan.version:
        lines.append(f"magneton: {data.get('version')} -> {plan.version}")
    if data.get("input_digest") != plan.input_digest:
        lines.append("the input has changed")
    settings = frozen_settings(before)
    if settings is None:
        return [*lines, "the settings of that run can't be read"]
    of_map = attempt.threshold.settled
    taken = (_taken(attempt, before, settings[1]), of_map)
    listed = _thresholds(data), [cut.name for cut in plan.cuts]
    settled = differing(settings[0], attempt.config.resolved(), taken)
    lines += [one for one in settled if not (any(listed) and one.startswith(f"{THRESHOLD}:"))]
    if any(listed) and listed[0] != listed[1]:
        was, now = (", ".join(names) or "one" for names in listed)
        lines.append(f"{THRESHOLD}: {was} -> {now}")
    return lines


def _taken(attempt: Attempt, before: AttemptPaths, planned: float | None) -> float | None:
    """The threshold that the attempt before ended with; pool may have taken it from the map."""
    with suppress(OSError, MagnetonError):
        return threshold_of.result(attempt.work, plan_of(before)).settled
    return planned


def _thresholds(data: Data) -> list[str]:
    """Of a plan's several thresholds, as any release may have written them."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return [f"{cut['threshold']['value']:g}" for cut in data.get("cuts", ())]
    return []
