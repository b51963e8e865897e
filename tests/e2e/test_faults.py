"""What is killed in the middle of a run, and what is cleared after it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.e2e.airflow import Airflow, HeldChunk, wait_until
from tests.e2e.postgres import Server
from tests.helpers.tiny_volume import OBJECTS, chunk_file

#: Begin of a chunk that only the last layer of blocks reads.
LAST_LAYER = (30, 0, 0)


def records(work: Path, state: str) -> Counter[int]:
    """How often each block has a record of segment in this state."""
    lines = [
        json.loads(line)
        for file in work.glob("segment-*/records/*.jsonl")
        for line in file.read_text().splitlines()
        if line.endswith("}")
    ]
    return Counter(line["key"] for line in lines if line["state"] == state)


def worker_of(work: Path) -> psutil.Process:
    """The process that segments."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "segment" in command and any(str(work) in word for word in command):
            return process
    raise AssertionError("no worker is there")


def same_voxels(a: Path, b: Path) -> bool:
    """Whether two segmentations hold the same chunks."""
    names = sorted(p.relative_to(a) for p in a.rglob("*.gz"))
    assert names
    return names == sorted(p.relative_to(b) for p in b.rglob("*.gz")) and all(
        np.array_equal(_decoded(a / name), _decoded(b / name)) for name in names
    )


def _decoded(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    import gzip

    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)


@pytest.mark.parametrize("killed", ["worker", "scheduler"])
def test_killed_in_the_middle(airflow: Airflow, killed: str) -> None:
    name = f"killed_{killed}"
    airflow.write_volume(name, "local: {workers: 1}\n", sizes="many")
    airflow.wait_for_dag(name)
    run_id = airflow.trigger(name)
    work = airflow.work(name)
    airflow.wait_planned(name)
    chunk = HeldChunk(airflow.volumes / name / "affinity", LAST_LAYER)
    wait_until(lambda: sum(records(work, "started").values()) == 13, "it is in the middle")
    assert sum(records(work, "done").values()) == 12
    log = airflow.log(name, run_id, "segment", index=0)  # of a task that runs
    assert "magneton" in log and "Could not read" not in log
    if killed == "worker":
        worker_of(work).kill()
        chunk.release(has_reader=False)
    else:
        scheduler = airflow.services.running()["scheduler"]
        scheduler.kill()
        scheduler.wait()
        chunk.release()  # the worker works on, with nobody to tell
        airflow.start()  # waits for the one that is started instead
    assert airflow.wait_for_run(name, run_id) == "success"
    assert airflow.result(name, "verify")["objects"] == OBJECTS
    assert sum(records(work, "done").values()) <= 19, "nothing twice but the block in work"
    undisturbed(airflow)
    assert same_voxels(work.parent / "segmentation", airflow.volumes / "calm" / "segmentation")


def test_an_outage_of_the_database(airflow: Airflow, server: Server | None) -> None:
    """It ends services, but not for good: nobody has to start them again."""
    if server is None:
        pytest.skip("the database isn't ours to stop")
    scheduler = airflow.services.running()["scheduler"]
    server.stop()
    try:
        wait_until(lambda: not scheduler.is_running(), "the scheduler ends")
    finally:
        server.start()
    wait_until(airflow.services.healthy, "all services are healthy again")
    airflow.write_volume("outlived", "local: {workers: 1}\n", sizes="few")
    assert airflow.run("outlived")[1] == "success"


def undisturbed(airflow: Airflow) -> None:
    """A run of the same volume that nothing happened to."""
    if not airflow.work("calm").exists():
        airflow.write_volume("calm", "local: {workers: 1}\n", sizes="many")
        assert airflow.run("calm")[1] == "success"


def verified(work: Path) -> int:
    """How many attempts came to their end."""
    return len(list(work.glob("runs/*/*/results/verify.json")))


def test_clearing_plan_after_mending_the_input_and_after_an_edit(airflow: Airflow) -> None:
    config = airflow.write_volume("cleared", "local: {workers: 2}\n", sizes="many")
    torn = chunk_file(airflow.volumes / "cleared" / "affinity", (30, 24, 28))  # the second batch's
    content = torn.read_bytes()
    airflow.wait_for_dag("cleared")
    run_id = airflow.trigger("cleared")
    work = airflow.work("cleared")
    airflow.wait_planned("cleared")
    torn.write_bytes(content[: len(content) // 2])
    assert airflow.wait_for_run("cleared", run_id) == "failed"
    tasks = airflow.tasks("cleared", run_id)
    assert [tasks["segment", k]["state"] for k in (0, 1)] == ["success", "failed"]

    torn.write_bytes(content)
    # Blocks that failed for bad data aren't tried again in the same attempt: plan makes a new one.
    airflow.clear_tasks("cleared", run_id, "plan")
    wait_until(lambda: verified(work) == 1, "it is mended")
    assert airflow.wait_for_run("cleared", run_id) == "success"
    assert airflow.result("cleared", "verify")["objects"] == OBJECTS
    assert max(records(work, "done").values()) == 1, "what was done before is kept"

    config.write_text(config.read_text() + "pool: {rule: any}\n")
    airflow.clear_tasks("cleared", run_id, "plan")
    wait_until(lambda: verified(work) == 2, "it is done anew")
    assert airflow.wait_for_run("cleared", run_id) == "success"
    assert "pool.rule: mutual -> any" in airflow.log("cleared", run_id, "plan", 3)
    tasks = airflow.tasks("cleared", run_id)
    assert {t["state"] for (task, _), t in tasks.items() if task == "segment"} <= {
        "skipped",
        "removed",
    }
