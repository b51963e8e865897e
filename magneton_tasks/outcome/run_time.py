"""The time that a run still takes, from its plan and the rows of its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.grid import ranges_len
from magneton_tasks.outcome import time_left
from magneton_tasks.outcome.stage_names import name_of
from magneton_tasks.outcome.time_left import Part
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import CHOICE_OF, OF_GROUPS, ROUNDS, stages_of
from magneton_tasks.stages.proof import SHARE
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt

Data = dict[str, Any]

#: CPU time of all rounds over that of cut, with which plan can tell the one from the other: 3.2 and 2.8
#: on the volumes of docs/performance.md.
_ROUNDS_OVER_CUT = 3.0


def left_s(attempt: Attempt, rows: Sequence[Data], now: float) -> Mapping[str, float]:
    """Seconds that each stage still takes, by `stage_names.name_of`; also of those without a row yet.

    Parameters
    ----------
    rows
        Of the stages that are known by now, verify's included.
    """
    plan = attempt.plan
    by_name = {row["stage"]: row for row in rows}
    parts: dict[str, Part] = {}
    for stage in stages_of(attempt.config.method):
        for each in attempt.each():
            name = name_of(each, stage)
            if name not in parts and _is_asked(plan, stage):
                parts[name] = _part(each, stage, name, by_name.get(name))
    return time_left.left(
        list(parts.values()), plan.created, now, plan.workers, in_airflow=plan.is_of_dag
    )


def _is_asked(plan: Plan, stage: str) -> bool:
    return stage == "verify" or CHOICE_OF[stage] in plan.stages


def _part(attempt: Attempt, stage: str, name: str, row: Data | None) -> Part:
    plan = attempt.plan
    steps = 2 if stage in OF_GROUPS and plan.is_of_dag else 1
    is_late = stage in OF_GROUPS
    if row is None or (is_late and group_work.known(attempt.paths, stage) is None):
        if stage in ROUNDS[1:]:  # nobody knows how many there will be
            return Part(name, 0, is_over=True)
        is_wanted = not is_late or group_work.is_wanted(plan, stage)
        return Part(name, steps, _cpu_s(plan, stage), is_over=not is_wanted)
    work = group_work.work_of(attempt.paths, plan, stage)
    todo = 1 if work is None else ranges_len(work.todo)
    settled = row["own"] + row["own_failed"]
    began = row["began"] if settled or row["running"] else None
    return Part(
        name,
        steps,
        _cpu_s(plan, stage) if work is None or not work.cpu_s else work.cpu_s,
        max(ceil_div(work.batches, plan.workers), 1) if work is not None else 1,
        row["started"] if began is None else began,
        row["ended"],
        row["pace_s"],
        is_over=settled >= todo,
    )


def _cpu_s(plan: Plan, stage: str) -> float:
    """CPU time to expect of what the plan doesn't tell it of."""
    if stage == "verify":  # it reads no more than that
        return SHARE * sum(work.cpu_s for work in plan.work.values())
    if stage == ROUNDS[0] and "cut" in plan.work:
        return _ROUNDS_OVER_CUT * plan.work["cut"].cpu_s
    return plan.work[stage].cpu_s if stage in plan.work else 0.0
