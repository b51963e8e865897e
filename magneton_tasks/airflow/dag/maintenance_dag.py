"""``magneton_maintenance``: frees what old runs left, of each volume in ``$MAGNETON_CONFIGS``.

Daily once it is switched on, and by hand; `magneton maintain` does the work. It never touches an
output, nor a volume that a run holds, nor anything outside ``paths.work``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG

from magneton_tasks.airflow.operators import maintenance
from magneton_tasks.config.places import configs_or


def maintenance_dag(default: Path) -> DAG:
    """The DAG for the volumes in ``$MAGNETON_CONFIGS``; ``default`` where that isn't set."""
    places = configs_or(default)
    with DAG(
        "magneton_maintenance",
        schedule="30 3 * * *",
        start_date=datetime(2000, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        params=maintenance.form(places),
        doc_md=__doc__,
        tags=["magneton"],
        default_args={"retries": 0},
    ) as dag:
        volumes = maintenance.VolumesOperator(task_id="volumes", places=places)
        maintenance.MaintainOperator.partial(
            task_id="clean",
            map_index_template="{{ task.volume['name'] }}",
            max_active_tis_per_dag=1,
        ).expand(volume=volumes.output)
    return dag
