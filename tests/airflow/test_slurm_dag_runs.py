"""The DAG run to its end in process on a fake cluster, with stand-ins for workers: no triggerer waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.airflow.operators import array_trigger
from tests.runners.slurm.conftest import cluster, python, volume  # noqa: F401 (fixtures)
from tests.runners.slurm.fake_cluster import Cluster, Volume

pytestmark = [
    pytest.mark.usefixtures("database", "warm"),
    # Airflow's server code and the scheduler run in this process, with all warnings of their own.
    pytest.mark.filterwarnings("ignore"),
]

Load = Callable[[Path], dict[str, Any]]


def test_a_run_without_services_is_green(
    load_dags: Load,
    volume: Volume,  # noqa: F811
    cluster: Cluster,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(array_trigger, "SETTLE_S", 0)
    config = volume()
    run = load_dags(config.parent)["instance_segmentation.tiny"].test()
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert str(run.state) == "success", states
    names = [about["name"].split("-")[1] for about in cluster.jobs.values()]
    assert names == ["probe", "segment", "count", "pool", "apply", "verify"]
