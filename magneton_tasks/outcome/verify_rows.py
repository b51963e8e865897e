"""The rows of verify among those of the stages: one of a single threshold, else one of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.outcome.stage_names import name_of
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_table import noun_of
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt

Data = dict[str, Any]

STAGE = "verify"
#: What rows of stages have that verify hasn't.
_NOTHING: Data = {
    "asked": True, "expected_bytes": None, "bound_bytes": None, "stored_bytes": None, "open": None,
    "expected_cpu_s": None, "pace_s": None, "has_map": False, "layers": [], "running_now": [], "failures": [],
    "seconds": None, "memory": None, "slowest": [], "fattest": [],
}  # fmt: skip


def rows(
    attempt: Attempt,
    stages: Sequence[Data],
    now: float,
    *,
    is_alive: bool,
    verified: Mapping[str, Any] | None = None,
) -> list[Data]:
    """The rows, with the keys of those of stages; its failures stand beside those of blocks.

    Parameters
    ----------
    stages
        The rows of all other stages: verify works once they are complete.
    now
        Unix seconds.
    verified
        verify's result, where it isn't written yet.
    """
    return [
        _row(each, stages, now, is_alive=is_alive, verified=verified) for each in attempt.each()
    ]


def _row(
    attempt: Attempt,
    stages: Sequence[Data],
    now: float,
    *,
    is_alive: bool,
    verified: Mapping[str, Any] | None,
) -> Data:
    result = results.of_verify(attempt.paths) or verified
    ended = files.modified_s(attempt.paths.result(STAGE)) or now
    summary = StageSummary(STAGE, 1, 1)
    queued = 0
    if result is not None:
        kind = "failed" if result.get("failures") else "done"
        took_s = result.get("seconds")
        summary.add(kind, 0, is_own=True, time=ended, seconds=took_s, cpu_s=result.get("cpu_s"))
    elif is_alive and _are_complete(stages):
        before = [row["ended"] for row in stages if row["ended"] is not None]
        summary.add("running", 0, is_own=True, time=max(before, default=attempt.plan.created))
    else:
        summary.add("missing", 0, is_own=False)
        queued = int(is_alive)
    told = summary.data(now, is_alive=is_alive)
    return {
        **_NOTHING, **told, "stage": name_of(attempt, STAGE), "noun": noun_of(STAGE),
        "queued": queued, "missing": told["missing"] - queued,
    }  # fmt: skip


def _are_complete(stages: Sequence[Data]) -> bool:
    """Whether all that was asked for has its result, as far as it is known by now."""
    asked = [row for row in stages if row["asked"]]
    return bool(asked) and all(row["done"] + row["empty"] == row["total"] for row in asked)
