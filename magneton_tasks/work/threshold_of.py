"""The threshold of a result: what pool took from the map stands in its record, and nowhere else."""

from __future__ import annotations

from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths
from magneton_tasks.work.record import Record


def pool(plan: Plan, record: Record) -> ThresholdChoice:
    """That cut and all after it take.

    Parameters
    ----------
    record
        The pool's.
    """
    told = record.info.get("threshold")
    return plan.threshold if told is None else ThresholdChoice.from_data(told)


def result(work: WorkPaths, plan: Plan) -> ThresholdChoice:
    """That a plan's result was made with; before its pool: what plan says, for people."""
    if plan.threshold.source != "map":
        return plan.threshold
    state = Manifest(work.records("pool", plan.fingerprints.pool)).read({0}).get(0)
    record = state.valid if state else None
    return plan.threshold if record is None else pool(plan, record)
