"""The example DAGs of the documents."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from airflow.sdk import Asset
from airflow.serialization.serialized_objects import DagSerialization

from magneton_tasks.airflow.dag.dag_names import PREFIX

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "after_segmentation.py"


def test_dags_start_on_the_assets_that_volumes_announce() -> None:
    made: dict[str, Any] = runpy.run_path(str(EXAMPLE))
    assert made["cortex"] == Asset(PREFIX + "cortex"), "named like the volume's DAG"
    for name in ("mesh_cortex", "analyse_daily"):
        saved = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(made[name]))
        assert saved.dag_id == name
    assert made["daily"] == Asset(PREFIX + "daily")
    assert made["mesh_cortex"].schedule == [made["cortex"]]
