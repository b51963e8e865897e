"""The DAG of a volume config, and all of them: what a file in a DAGs folder calls.

::

    overlap: plan -> segment (mapped) -> count (mapped) -> pool -> apply (mapped) -> downsample (mapped) -> verify (mapped) -> announce
    exact:   plan -> segment (mapped) -> faces (mapped) -> round0 ... round7 (mapped) -> pool -> cut (mapped) -> apply ... the same

Each round's batches are found out once the round before is done (batches.round3); rounds that a
volume doesn't need are skipped. verify is a task of each threshold. Where ``runner.offered`` names several runners,
each stage has a task of each, and those of the runners that a run hasn't chosen are skipped. Where
Slurm is offered, a probe stands between plan and segment.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup, XComArg, cross_downstream
from airflow.sdk.definitions.param import ParamsDict

from magneton_tasks.airflow.dag import catalog, page
from magneton_tasks.airflow.dag import form as params
from magneton_tasks.airflow.dag import tasks as stages
from magneton_tasks.config.places import configs_or
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.stage_table import MAPPED, OF_EACH, OF_GROUPS, ROUNDS, stages_asked


def volume_dags(default: Path) -> dict[str, DAG]:
    """DAGs by id: one for each volume config in ``$MAGNETON_CONFIGS``; ``default`` where that isn't set."""
    made = catalog.make_dags(configs_or(default), make_dag)
    return {dag.dag_id: dag for dag in made}


def make_dag(dag_id: str, path: Path, config: RunConfig) -> DAG:
    """The DAG of one volume config."""
    with DAG(
        dag_id,
        doc_md=page.page(dag_id, path, config),
        **catalog.settings(config),
    ) as dag:
        plan = stages.plan(config, str(path))
        attempt: Any = XComArg(plan, key="attempt")
        names = stages_asked(config)
        with TaskGroup("batches", tooltip="What plan found to do, stage by stage"):
            known = [s for s in names if s in (*MAPPED, *OF_EACH) and s not in OF_GROUPS]
            todo = {s: stages.batches(config, s, attempt) for s in known}
        before: list[Any] = [plan]
        mapped = list[Any]()
        for probe in stages.probe(config, attempt):
            plan >> probe
            before.append(probe)
        rounds = stages.rounds(config)
        for stage in names:
            with rounds if rounds and stage in ROUNDS else nullcontext():
                if stage in OF_GROUPS:
                    todo[stage] = stages.batches(config, stage, attempt)
                    cross_downstream(before, list(todo[stage].values()))
                tasks = stages.tasks(config, stage, attempt, todo.get(stage, {}))
            cross_downstream(before, tasks)
            before = tasks
            mapped += tasks if stage in todo else ()
        announce = stages.announce(dag_id, attempt)
        stages.before_plan(config, str(path)) >> plan
        release = stages.release(config).as_teardown()
        before >> announce >> release
        # Stages after a failed one are done at once, while others of its mapped tasks go on: what they
        # work on is given back when all are done.
        mapped >> release
    # At last: each task that is made later would hold, and save, a copy of the whole form.
    dag.params = ParamsDict(params.form(config))
    return dag
