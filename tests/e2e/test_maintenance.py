"""The DAG that frees what old runs left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.airflow import Airflow, wait_until

DAG = "magneton_maintenance"


def run(airflow: Airflow, **conf: Any) -> str:
    """Id of a finished run; all its tasks went well."""
    asked = {"logical_date": None, "conf": {"volume": "kept_tidy", "keep_days": 0, **conf}}
    run_id = str(airflow.call(f"/api/v2/dags/{DAG}/dagRuns", asked)["dag_run_id"])
    assert airflow.wait_for_run(DAG, run_id) == "success"
    return run_id


def test_dry_and_for_real_with_decoys(airflow: Airflow, tmp_path: Path) -> None:
    airflow.write_volume("kept_tidy", "local: {workers: 2}\n", sizes="few")
    assert airflow.run("kept_tidy")[1] == "success"
    airflow.read_configs()  # the form offers the volume
    path = f"/api/v2/dags/{DAG}/details"
    wait_until(
        lambda: "kept_tidy" in json.dumps(airflow.call(path)["params"]), "the volume is offered"
    )
    airflow.switch(DAG, on=True)
    work = airflow.work("kept_tidy")
    (labels,) = work.glob("segment-*/labels.zarr")
    (work.parent / "precious").write_text("mine")
    (labels.parent / "link").symlink_to(work.parent)

    dry = run(airflow, dry_run=True)
    assert "would free" in airflow.log(DAG, dry, "clean", 1, 0) and labels.exists()

    real = run(airflow)
    airflow.switch(DAG, on=False)
    tasks = airflow.tasks(DAG, real)
    assert tasks["clean", 0]["rendered_map_index"] == "kept_tidy"
    assert f"{work}: freed" in airflow.log(DAG, real, "clean", 1, 0)
    assert json.loads((work / "freed.json").read_text())["bytes"] > 0
    assert not labels.exists()
    assert (work.parent / "precious").read_text() == "mine"
    assert (labels.parent / "link").is_symlink()
    assert (work.parent / "segmentation" / "info").is_file(), "the output never"
