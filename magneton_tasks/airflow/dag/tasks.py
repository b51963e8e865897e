"""The operators of each runner, for the DAG file: which runner's, and with which limits.

With one runner offered a stage is one task; with several, one task per runner (``segment_local``,
``segment_docker``), and those that a run hasn't chosen are skipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, TaskGroup

from magneton_tasks.airflow.operators.announce import AnnounceOperator
from magneton_tasks.airflow.operators.batches import BatchesOperator, GroupsOperator
from magneton_tasks.airflow.operators.planning import PlanOperator
from magneton_tasks.airflow.operators.process import ReleaseOperator, StageOperator
from magneton_tasks.airflow.service import pools
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.stage_table import MAPPED, OF_EACH, OF_GROUPS, PROBE
from magneton_tasks.runners.registry import RUNNERS, Kind, is_offered, scheduler_of

if TYPE_CHECKING:
    from magneton_tasks.airflow.operators.arrays import ArrayOperator


def plan(config: RunConfig, path: str) -> BaseOperator:
    """Plan: a process of this machine, or a container if all stages are."""
    if _has_processes(config):
        return PlanOperator(task_id="plan", config_path=path)
    from magneton_tasks.airflow.operators.container import PlanContainerOperator

    return PlanContainerOperator(task_id="plan", config_path=path, config=config)


def before_plan(config: RunConfig, path: str) -> list[BaseOperator]:
    """What waits for the input, where the config says so."""
    if not config.wait_for_input.is_needed:
        return []
    from magneton_tasks.airflow.operators.waiting import TASK, WaitForInputOperator

    return [WaitForInputOperator(task_id=TASK, config_path=path)]


def announce(dag_id: str, attempt: Any) -> BaseOperator:
    """What tells other DAGs of the output."""
    return AnnounceOperator(task_id="announce", asset=Asset(dag_id), attempt=attempt)


def release(config: RunConfig) -> BaseOperator:
    """The end of a run: where plan ran, because its lease is what is given back."""
    if _has_processes(config):
        return ReleaseOperator(task_id="release")
    from magneton_tasks.airflow.operators.container import ReleaseContainerOperator

    return ReleaseContainerOperator(task_id="release", config=config)


def probe(config: RunConfig, attempt: Any) -> list[BaseOperator]:
    """The one small job that goes before a run's first array; none where no run has arrays."""
    offered = {name: scheduler_of(config, name) for name in config.runner.offered}
    probed = [name for name, found in offered.items() if found and found.settings.probe]
    return [
        _array_operator()(
            task_id=PROBE.name if len(probed) == 1 else f"{PROBE.name}_{name}",
            stage=PROBE.name,
            attempt=attempt,
            runner=_of_several(config, name),
        )
        for name in probed
    ]


def batches(config: RunConfig, stage: str, attempt: Any) -> dict[str, BatchesOperator]:
    """The batches of a mapped stage, by runner; those of groups are found out between two stages.

    These can't stand in the group ``batches``, for that would follow on stages which follow on it:
    Airflow draws no groups that go in a circle. Their names are as if they did.
    """
    made: dict[str, BatchesOperator] = {}
    group = "batches." if stage in OF_GROUPS else ""
    for runner in config.runner.offered:
        fixed: dict[str, Any] = {
            "task_id": group + _name(config, stage, runner), "stage": stage, "attempt": attempt,
            "runner": _of_several(config, runner),
        }  # fmt: skip
        operator: Any = BatchesOperator
        if stage in OF_GROUPS and RUNNERS[runner].kind is Kind.CONTAINERS:
            from magneton_tasks.airflow.operators.container import GroupsContainerOperator

            operator, fixed["config"] = GroupsContainerOperator, config
        elif stage in OF_GROUPS:
            operator = GroupsOperator
        made[runner] = operator(**fixed)
    return made


def rounds(config: RunConfig) -> TaskGroup | None:
    """What all rounds are folded into, if the method has any."""
    if config.method != "exact":
        return None
    told = "Merge regions, group by group of blocks; rounds that a volume doesn't need are skipped"
    return TaskGroup("rounds", tooltip=told, prefix_group_id=False)


def tasks(
    config: RunConfig, stage: str, attempt: Any, todo: dict[str, BatchesOperator]
) -> list[Any]:
    """A stage's task of each runner that is offered; ``todo``: what `batches` made."""
    made = []
    for runner in config.runner.offered:
        fixed: dict[str, Any] = {
            "task_id": _name(config, stage, runner), "stage": stage, "attempt": attempt,
            "runner": _of_several(config, runner),
        }  # fmt: skip
        operator: Any = StageOperator
        kind = RUNNERS[runner].kind
        if kind is Kind.ARRAYS:  # works elsewhere: no slot of this machine's pool
            operator = _array_operator()
        else:
            fixed |= {
                "pool": pools.NAME,
                "pool_slots": pools.stage_slots(config, stage, runner),
            }
        if kind is Kind.CONTAINERS:
            from magneton_tasks.airflow.operators.container import StageContainerOperator

            operator, fixed["config"] = StageContainerOperator, config
        if stage in (*MAPPED, *OF_EACH):
            partial = operator.partial(map_index_template="{{ task.index_name }}", **fixed)
            made.append(partial.expand(batch=todo[runner].output))
        else:
            made.append(operator(**fixed))
    return made


def _has_processes(config: RunConfig) -> bool:
    """Whether Airflow's machine works for a volume itself: submitting jobs asks for the same."""
    return is_offered(config, Kind.PROCESSES) or is_offered(config, Kind.ARRAYS)


def _array_operator() -> type[ArrayOperator]:
    # weight: asyncio and the BashOperator, for DAGs of a cluster alone
    from magneton_tasks.airflow.operators.arrays import ArrayOperator

    return ArrayOperator


def _name(config: RunConfig, stage: str, runner: str) -> str:
    return f"{stage}_{runner}" if len(config.runner.offered) > 1 else stage


def _of_several(config: RunConfig, runner: str) -> str | None:
    return runner if len(config.runner.offered) > 1 else None
