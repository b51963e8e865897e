"""The operators of each runner, for the DAG file: which runner's, and with which limits.

With one runner offered a stage is one task; with several, one task a runner (``segment_local``,
``segment_docker``), and those that a run hasn't chosen are skipped.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from magneton_tasks.airflow import pools
from magneton_tasks.airflow.operators import (
    BatchesOperator,
    PlanOperator,
    ReleaseOperator,
    StageOperator,
)
from magneton_tasks.config import RunConfig
from magneton_tasks.paths import MAPPED


def plan(config: RunConfig, path: str) -> BaseOperator:
    """Plan: a process where the local runner is offered, else a container."""
    if "local" in config.runner.offered:
        return PlanOperator(task_id="plan", config_path=path)
    from magneton_tasks.airflow.container_operators import PlanContainerOperator

    return PlanContainerOperator(task_id="plan", config_path=path, config=config)


def release(config: RunConfig) -> BaseOperator:
    """The end of a run: where plan ran, for its lease is what is given back."""
    if "local" in config.runner.offered:
        return ReleaseOperator(task_id="release")
    from magneton_tasks.airflow.container_operators import ReleaseContainerOperator

    return ReleaseContainerOperator(task_id="release", config=config)


def batches(config: RunConfig, stage: str, attempt: Any) -> dict[str, BatchesOperator]:
    """The batches of a mapped stage, by runner."""
    return {
        runner: BatchesOperator(
            task_id=_name(config, stage, runner),
            stage=stage,
            attempt=attempt,
            runner=_of_several(config, runner),
        )
        for runner in config.runner.offered
    }


def tasks(
    config: RunConfig, stage: str, attempt: Any, todo: dict[str, BatchesOperator]
) -> list[Any]:
    """A stage's task of each runner that is offered; ``todo``: what `batches` made."""
    made = []
    for runner in config.runner.offered:
        fixed: dict[str, Any] = {
            "task_id": _name(config, stage, runner), "stage": stage, "attempt": attempt,
            "runner": _of_several(config, runner),
            "pool": pools.NAME, "pool_slots": pools.stage_slots(config, stage, runner),
        }  # fmt: skip
        operator: Any = StageOperator
        if runner == "docker":
            from magneton_tasks.airflow.container_operators import StageContainerOperator

            operator, fixed["config"] = StageContainerOperator, config
        if stage in MAPPED:
            partial = operator.partial(map_index_template="{{ task.batch['name'] }}", **fixed)
            made.append(partial.expand(batch=todo[runner].output))
        else:
            made.append(operator(**fixed))
    return made


def _name(config: RunConfig, stage: str, runner: str) -> str:
    return f"{stage}_{runner}" if len(config.runner.offered) > 1 else stage


def _of_several(config: RunConfig, runner: str) -> str | None:
    return runner if len(config.runner.offered) > 1 else None
