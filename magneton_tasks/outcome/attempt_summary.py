"""How far a stage of an attempt is, as its records have it."""

from __future__ import annotations

from dataclasses import replace

from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import OF_GROUPS
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.states import VolumeStates


def summary_of(attempt: Attempt, states: VolumeStates, stage: str) -> StageSummary:
    """Of a stage of which nothing is counted yet, whatever is known of its groups by now."""
    plan = attempt.plan
    if stage not in OF_GROUPS:
        return StageSummary.planned(plan, stage)
    work = group_work.work_of(attempt.paths, plan, stage) or StagePlan(0)
    return StageSummary.of_groups(plan, stage, replace(work, total=states.total(stage)))


def of_attempt(attempt: Attempt, stage: str, *, is_alive: bool) -> StageSummary:
    """Of a stage as the records of its attempt have it now."""
    states = VolumeStates(attempt, alive=is_alive)
    found = summary_of(attempt, states, stage)
    for each in states.judged(stage):
        record = each.parsed().record
        is_own = record is not None and attempt.is_ours(record)
        found.add_record(each.kind, each.key, record, is_own=is_own)
    return found
