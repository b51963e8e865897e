"""Runs that somebody starts, over REST and in the browser."""

from __future__ import annotations

import pytest

from tests.e2e.airflow import Airflow, RefusedError
from tests.tiny_volume import OBJECTS


def test_a_run_over_rest(airflow: Airflow) -> None:
    airflow.write_volume("by_rest", "local: {workers: 2}\n")
    run_id, state = airflow.run("by_rest", {"segment.threshold": 0.6})
    tasks = airflow.tasks("by_rest", run_id)
    assert state == "success", tasks
    assert tasks["segment", 1]["rendered_map_index"] == "batch 1: blocks 6-11"
    assert airflow.result("by_rest", "verify")["objects"] == OBJECTS
    assert "12 of 12 in 2 batches" in airflow.log("by_rest", run_id, "plan")


@pytest.mark.parametrize(
    ("conf", "status", "says"),
    [
        ({"segment.threshold": 3}, 400, "segment.threshold"),
        ({"block.size": [64, 64]}, 400, "block.size"),
        ({"segment.merge_function": "median"}, 400, "segment.merge_function"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    airflow: Airflow, conf: dict[str, object], status: int, says: str
) -> None:
    if not (airflow.configs / "refusing.yaml").exists():
        airflow.write_volume("refusing")
    airflow.wait_for_dag("refusing")
    with pytest.raises(RefusedError) as refused:
        airflow.trigger("refusing", conf)
    assert refused.value.status == status and says in refused.value.text
