"""The exact method as jobs of a fake cluster whose workers are real: their groups follow from their memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.file_limits import assert_few_files
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import read_segmentation, run_pipeline
from tests.runners.slurm.fake_cluster import Cluster
from tests.runners.slurm.test_run_slurm import ends, magneton, tasks
from tests.runners.slurm.warm_jobs import warm_jobs

#: Children of a test process are larger than those of a worker.
HERE = "local: {memory: 8GiB}\n"


@pytest.fixture
def worker(cluster: Cluster, warm: None) -> Iterator[Path]:
    """Python on the compute nodes."""
    with warm_jobs(cluster.home) as python:
        yield python


@pytest.mark.long
def test_several_thresholds_share_the_arrays_of_one_attempt(
    cluster: Cluster, worker: Path, tmp_path: Path
) -> None:
    slurm = {
        "poll_s": 1, "max_poll_s": 1, "grace_s": 1, "probe": False, "python": str(worker),
        "memory": "1GiB", "max_memory": "3GiB",
    }  # fmt: skip
    runner = f"runner: {{offered: [slurm], default: slurm}}\nslurm: {json.dumps(slurm)}\n"
    config = write_tiny_volume(tmp_path, runner, "exact", "at-{threshold}")
    code, out = ends(magneton("run", str(config), "--thresholds", ".3,.7"))
    assert code == 0, out
    twice = ["cut", "cut", "apply", "apply", "verify", "verify"]
    assert tasks(cluster) == ["segment", "faces", "round0", "pool", *twice]
    alone = run_pipeline(write_tiny_volume(tmp_path / "here", HERE, "exact"))
    for name in ("0.3", "0.7"):  # perfect affinities: the same objects at any
        found = read_segmentation(f"file://{tmp_path}/at-{name}")
        assert np.array_equal(found, read_segmentation(alone))


def test_rounds_are_arrays_of_as_few_rows_as_a_job_may_hold_and_the_result_is_the_same(
    cluster: Cluster, worker: Path, tmp_path: Path
) -> None:
    # No row fits beside what a process takes anyway: each block is a group.
    slurm = {
        "poll_s": 1, "max_poll_s": 1, "grace_s": 1, "probe": False, "python": str(worker),
        "memory": "300MiB", "max_memory": "3GiB", "max_running": 2,
    }  # fmt: skip
    runner = f"runner: {{offered: [slurm], default: slurm}}\nslurm: {json.dumps(slurm)}\n"
    config = write_tiny_volume(tmp_path / "jobs", runner, "exact")
    code, out = ends(magneton("run", str(config)))
    assert code == 0, out
    stages = list(dict.fromkeys(tasks(cluster)))
    rounds = [stage for stage in stages if stage.startswith("round")]
    assert len(rounds) > 1 and rounds == [f"round{k}" for k in range(len(rounds))]
    assert stages == ["segment", "faces", *rounds, "pool", "cut", "apply", "verify"]
    assert_few_files(tmp_path / "jobs" / "work")

    local = run_pipeline(write_tiny_volume(tmp_path / "here", HERE, "exact"))
    found = read_segmentation(f"file://{tmp_path}/jobs/segmentation")
    assert np.array_equal(found, read_segmentation(local))

    before = len(cluster.jobs)
    code, out = ends(magneton("run", str(config)))
    assert code == 0 and "nothing to do" in out and len(cluster.jobs) == before, out
