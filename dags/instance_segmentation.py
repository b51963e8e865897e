"""One DAG for each volume config in ``$MAGNETON_CONFIGS`` (default: ``configs/`` of the project).

::

    plan -> segment (mapped) -> count (mapped) -> pool -> apply (mapped) -> downsample (mapped) -> verify

With ``method: exact`` six slots for levels of joins (join1 to join6, mapped) stand between count and
pool; those that a volume doesn't need are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup, XComArg

from magneton_tasks.airflow import catalog, params, pools
from magneton_tasks.airflow.operators import (
    BatchesOperator,
    PlanOperator,
    ReleaseOperator,
    StageOperator,
)
from magneton_tasks.config import RunConfig
from magneton_tasks.paths import JOINS, MAPPED, STAGES

PLACES = os.environ.get("MAGNETON_CONFIGS") or str(Path(__file__).resolve().parents[1] / "configs")


def make_dag(dag_id: str, path: Path, config: RunConfig) -> DAG:
    """The DAG of one volume config."""
    with DAG(
        dag_id,
        params=params.form(config),
        doc_md=catalog.page(path, config),
        **catalog.settings(config),
    ) as dag:
        plan = PlanOperator(task_id="plan", config_path=str(path))
        attempt: Any = XComArg(plan, key="attempt")
        stages = [s for s in STAGES if config.method == "exact" or s not in JOINS]
        mapped = [s for s in stages if s in MAPPED]
        with TaskGroup("batches", tooltip="What plan found to do, stage by stage"):
            batches = {s: BatchesOperator(task_id=s, stage=s, attempt=attempt) for s in mapped}
        before: Any = plan
        for stage in stages:
            local = {"pool": pools.NAME, "pool_slots": pools.stage_slots(config, stage)}
            fixed: dict[str, Any] = {"task_id": stage, "stage": stage, "attempt": attempt, **local}
            if stage in MAPPED:
                name = "{{ task.batch['name'] }}"
                partial = StageOperator.partial(map_index_template=name, **fixed)
                task: Any = partial.expand(batch=batches[stage].output)
            else:
                task = StageOperator(**fixed)
            before >> task
            before = task
        before >> ReleaseOperator(task_id="release").as_teardown()
    return dag


for _dag in catalog.make_dags(PLACES, make_dag):
    globals()[_dag.dag_id] = _dag
