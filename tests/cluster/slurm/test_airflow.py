"""A DAG whose stages are Slurm job arrays, under a real Airflow of the submitting user's."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest

from tests.cluster.slurm.airflow import ONLY_SEGMENT, SlurmAirflow
from tests.cluster.slurm.cluster import Place, admin, wait_for
from tests.cluster.slurm.conftest import is_right
from tests.helpers.file_limits import assert_few_files


@pytest.fixture(scope="module")
def airflow(cluster: None) -> Iterator[SlurmAirflow]:
    place = Place()
    made = SlurmAirflow(place)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        place.remove()


@pytest.fixture(autouse=True)
def released(airflow: SlurmAirflow) -> Iterator[None]:
    """Jobs that a test held go on after it."""
    yield
    airflow.send(signal.SIGCONT, "triggerer")
    airflow.place.hold.unlink(missing_ok=True)
    airflow.place.slow.unlink(missing_ok=True)
    admin("scontrol", "update", "partitionname=main", "state=up")


def ends_well(airflow: SlurmAirflow, name: str, run_id: str) -> None:
    """The run succeeds, and each block was computed once."""
    state = airflow.wait_for_run(name, run_id)
    assert state == "success", airflow.last_words(name, run_id)
    assert sorted(airflow.done(name)) == list(range(12))
    assert set(airflow.done(name).values()) == {1}
    assert not airflow.jobs(name)


def test_a_dag_is_identical_and_holds_no_worker_slot(
    airflow: SlurmAirflow, expected: list[np.ndarray]
) -> None:
    name = airflow.volume("whole", {"probe": True})
    airflow.place.hold.touch()
    run_id = airflow.trigger(name)
    airflow.wait_watched(name, run_id)
    pool = airflow.call("/api/v2/pools/default_pool")
    assert pool["running_slots"] == 0 and pool["deferred_slots"] == 1, pool
    airflow.place.hold.unlink()
    ends_well(airflow, name, run_id)
    assert is_right(airflow.volumes / name, expected)
    assert airflow.submissions(name) == 1
    assert airflow.state(name, run_id, ("probe", -1)) == "success"
    log = airflow.log(name, run_id, "verify", index=0)
    assert "next time" in log, "what the jobs used of what they had"
    here = airflow.map_path(name, run_id)
    wait_for(lambda: airflow.call(f"{here}summary.json")["state"] == "verified", "it's on the map")
    block = airflow.call(f"{here}block.json?stage=segment&key=0")
    assert block["tries"][-1]["state"] == "done" and block["log"]
    job = block["tries"][-1]["job"]
    (gathered,) = airflow.work(name).glob("runs/*/1/logs/slurm/segment-0000.log")
    assert f"==> {job}.log <==" in gathered.read_text()
    assert_few_files(airflow.work(name))


def test_a_task_is_cleared_in_each_state_of_its_jobs(airflow: SlurmAirflow) -> None:
    name = airflow.volume("cleared")
    airflow.place.hold.touch()
    admin("scontrol", "update", "partitionname=main", "state=down")
    run_id = airflow.trigger(name, ONLY_SEGMENT)
    airflow.wait_watched(name, run_id)

    airflow.wait_jobs(name, "PENDING")
    airflow.clear_waiting(name, run_id)
    admin("scontrol", "update", "partitionname=main", "state=up")
    airflow.wait_jobs(name, "RUNNING")
    assert len(airflow.jobs(name)) == 1, "two arrays would do the same"

    airflow.wait_watched(name, run_id)
    airflow.clear_waiting(name, run_id)
    wait_for(lambda: set(airflow.jobs(name).values()) == {"RUNNING"}, "its jobs run again")
    assert len(airflow.jobs(name)) == 1, "two arrays would do the same"

    # the new try takes the jobs over before the old trigger is told that it is killed
    airflow.wait_watched(name, run_id)
    before, submitted = airflow.jobs(name), airflow.submissions(name)
    airflow.send(signal.SIGSTOP, "triggerer")
    airflow.clear_waiting(name, run_id)
    killed = airflow.kills(name)
    airflow.send(signal.SIGCONT, "triggerer")
    wait_for(lambda: airflow.kills(name) > killed, "the old trigger is killed", 60)
    with pytest.raises(AssertionError, match="did not happen"):
        wait_for(lambda: airflow.jobs(name) != before, "the job is cancelled", 8)

    airflow.place.hold.unlink()
    ends_well(airflow, name, run_id)
    assert airflow.submissions(name) == submitted, "the job that ran was waited for"

    airflow.clear(name, run_id)
    wait_for(lambda: airflow.state(name, run_id) != "success", "segment is cleared")
    ends_well(airflow, name, run_id)
    assert airflow.submissions(name) == submitted, "what is complete isn't submitted again"


def test_over_ssh(airflow: SlurmAirflow, host: str, expected: list[np.ndarray]) -> None:
    before = airflow.place.calls()
    name = airflow.volume("distant", {"host": host})
    run_id = airflow.trigger(name)
    ends_well(airflow, name, run_id)
    assert is_right(airflow.volumes / name, expected)
    assert airflow.place.calls() == before, "nothing of Slurm was run on this side"


def test_scheduler_and_triggerer_are_killed(airflow: SlurmAirflow) -> None:
    name = airflow.volume("killed")
    airflow.place.hold.touch()
    run_id = airflow.trigger(name, ONLY_SEGMENT)
    airflow.wait_watched(name, run_id)
    before = airflow.wait_jobs(name, "RUNNING")
    killed = set(airflow.services.running().values())
    airflow.send(signal.SIGKILL, "scheduler", "triggerer")
    wait_for(lambda: len(killed - set(airflow.services.running().values())) == 2, "both are gone")
    assert airflow.jobs(name) == before, "a triggerer's end isn't somebody's wish"
    airflow.start()  # waits for those that are started instead
    airflow.place.hold.unlink()
    ends_well(airflow, name, run_id)
    assert airflow.submissions(name) == 1


def test_marking_a_task_failed_cancels_its_jobs(airflow: SlurmAirflow) -> None:
    name = airflow.volume("unwanted")
    airflow.place.hold.touch()
    run_id = airflow.trigger(name, ONLY_SEGMENT)
    airflow.wait_watched(name, run_id)
    airflow.wait_jobs(name, "RUNNING")
    airflow.place.slow.touch()  # Airflow waits a second, and many a cluster takes longer
    path = f"{airflow.run_path(name, run_id)}/taskInstances/segment/0"
    airflow.call(path, {"new_state": "failed"}, method="PATCH")
    wait_for(lambda: not airflow.jobs(name), "the jobs are cancelled", 60)
    assert airflow.submissions(name) == 1
