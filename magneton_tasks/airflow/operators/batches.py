"""The batches of a mapped stage, over which Airflow maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator, Context

from magneton_tasks.airflow.operators.ends import Result, result_of
from magneton_tasks.airflow.operators.process import CommandOperator
from magneton_tasks.airflow.operators.stage_task import is_chosen
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Ranges, items, z_ordered
from magneton_tasks.base.units import several
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import AFTER_POOL, OF_EACH, noun_of, round_of
from magneton_tasks.runners.command import stage_command
from magneton_tasks.work import group_work
from magneton_tasks.work.frozen import plan_of
from magneton_tasks.work.paths import AttemptPaths

#: Under which a task that finds out groups tells how many there are, done ones included.
_GROUPS = "groups"
#: How long a file is looked for that a task has just written, in seconds.
_WAIT_S = 120.0


class BatchesOperator(BaseOperator):
    """Returns the batches of a mapped stage: ``[{"batch": 3, "name": "batch 3: blocks 24-31"}, ...]``.

    Few blocks are a batch each (`plan.stage_plan.make_stage`): ``{"batch": 3, "name": "block 24"}``.
    Of a stage that is a task of each threshold: ``[{"batch": 0, "name": "0.3"}, ...]``.

    One task per stage: Airflow maps over the return value of a task only, not over another XCom.

    Parameters
    ----------
    runner
        Whose batches: none where the run has chosen another. None: there is but one.
    """

    template_fields = ("attempt",)

    def __init__(
        self, *, stage: str, attempt: str, runner: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.attempt = attempt
        self.runner = runner

    def execute(self, context: Context) -> list[dict[str, Any]]:
        if not is_chosen(self.runner, self.attempt):
            return []
        plan = plan_of(AttemptPaths(Path(self.attempt)))
        if self.stage in OF_EACH:
            return thresholds(plan)
        if plan.cuts and self.stage in AFTER_POOL:
            works = {cut.name: cut.work.get(self.stage) for cut in plan.cuts}
            return batches_of_each(self.stage, works)
        geometry = plan.geometry
        shape = geometry.grid.shape if geometry.is_in_space(self.stage) else None
        return batches(self.stage, plan.work.get(self.stage), shape=shape)


class GroupsOperator(BatchesOperator, CommandOperator):
    """As `BatchesOperator` of a stage that works groups: finds them out, ``magneton STAGE --run ATTEMPT``."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        return group_batches(
            self,
            context,
            lambda: result_of(self.run_command(stage_command(self.stage, self.attempt))),
        )


def group_batches(
    task: BatchesOperator, context: Context, find_out: Callable[[], Result]
) -> list[dict[str, Any]]:
    """The batches of a stage that works groups; ``find_out`` runs ``magneton STAGE --run ATTEMPT``.

    Where a round had no groups, neither has a later one: nothing is run to find that out.
    """
    paths = AttemptPaths(Path(task.attempt))
    if not is_chosen(task.runner, task.attempt):
        return []
    if not group_work.is_wanted(plan_of(paths), task.stage):
        return []
    ti, number = context["ti"], round_of(task.stage)
    before = task.task_id.replace(task.stage, f"round{number - 1}") if number else None
    if before is not None and ti.xcom_pull(task_ids=before, key=_GROUPS) == 0:
        result = {"groups": 0, "batches": 0}
    else:
        result = find_out()
    ti.xcom_push(key=_GROUPS, value=result["groups"])
    if not result["batches"]:
        return []
    cuts = plan_of(paths).cuts if task.stage in AFTER_POOL else ()
    if cuts:
        named = [cut.name for cut in cuts]
        works = {n: group_work.read(paths.at(n), task.stage, _WAIT_S).work for n in named}
        return batches_of_each(task.stage, works)
    return batches(task.stage, group_work.read(paths, task.stage, _WAIT_S).work)


def thresholds(plan: Plan) -> list[dict[str, Any]]:
    """Several thresholds as batches, with their names; the only one is all of the stage."""
    if plan.cuts:
        return [{"batch": number, "name": cut.name} for number, cut in enumerate(plan.cuts)]
    settled = plan.threshold.settled
    return [{"batch": None, "name": "from the map" if settled is None else text_of(settled)}]


def batches_of_each(stage: str, works: Mapping[str, StagePlan | None]) -> list[dict[str, Any]]:
    """As `batches`, at several thresholds: ``0.3, batch 2: cells 0-7``; ``works``: by threshold."""
    named: list[dict[str, Any]] = []
    for threshold, work in works.items():
        found = batches(stage, work, before=len(named))
        named += [{**batch, "name": f"{threshold}, {batch['name']}"} for batch in found]
    return named


def batches(
    stage: str, work: StagePlan | None, *, shape: Vec3 | None = None, before: int = 0
) -> list[dict[str, Any]]:
    """The batches of a stage with names for people, such as ``batch 3: blocks 24-31`` or ``block 24``.

    Parameters
    ----------
    shape
        Blocks per axis, where a batch holds neighbours in space (`work.job.Job.keys`).
    before
        Number of the first batch.
    """
    if work is None:
        return []
    name = _name_in_order if shape is None else partial(_name_in_space, shape=shape)
    named = []
    for k in range(work.batches):
        begin, end = work.batch(k)
        told = name(noun_of(stage), work.todo, begin, end)
        if end - begin > 1:
            told = f"batch {before + k}: {told}"
        named.append({"batch": before + k, "name": told})
    return named


def _name_in_order(noun: str, todo: Ranges, begin: int, end: int) -> str:
    first, last = next(items(todo, begin, end)), next(items(todo, end - 1, end))
    if end - begin == 1:
        return f"{noun} {first}"
    together = last - first == end - begin - 1
    return f"{noun}s {first}-{last}" + ("" if together else f" ({end - begin} of them)")


def _name_in_space(noun: str, todo: Ranges, begin: int, end: int, *, shape: Vec3) -> str:
    """Of neighbours: their numbers don't follow one another."""
    if end - begin == 1:
        return f"{noun} {z_ordered(todo, shape)[begin]}"
    return several(end - begin, noun)
