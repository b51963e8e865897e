"""DAGs that start when a segmentation is ready; put such a file beside ``dags/instance_segmentation.py``.

``instance_segmentation.cortex`` stands for a volume config ``cortex.yaml``. What is announced when,
and what an event holds, is in docs/schedules.md.
"""

from __future__ import annotations

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

cortex = Asset("instance_segmentation.cortex")
daily = Asset("instance_segmentation.daily")

with DAG("mesh_cortex", schedule=[cortex], tags=["example"]) as mesh_cortex:

    @task
    def mesh(triggering_asset_events=None):
        for event in triggering_asset_events[cortex]:
            print("mesh", event.extra["output"])

    mesh()

# Where {partition} stands in the volume's paths: one run for each partition that is announced.
with DAG(
    "analyse_daily", schedule=PartitionedAssetTimetable(assets=daily), tags=["example"]
) as analyse_daily:

    @task
    def analyse(triggering_asset_events=None, dag_run=None):
        for event in triggering_asset_events[daily]:
            print("analyse", dag_run.partition_key, event.extra["output"])

    analyse()
