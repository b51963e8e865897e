"""Runs from the command line on a real cluster, and what goes wrong in them."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest

from magneton_tasks.errors import EXIT_CONFIG
from tests.cluster.slurm.cluster import (
    Place,
    admin,
    bring_up,
    finish,
    kill_node,
    stop_controller,
    wait_for,
)
from tests.cluster.slurm.conftest import voxels


def is_right(place: Place, expected: list[np.ndarray]) -> bool:
    return all(
        np.array_equal(voxels(place.path / "segmentation", mip), there)
        for mip, there in enumerate(expected)
    )


def test_a_run_is_identical_to_a_local_one(place: Place, expected: list[np.ndarray]) -> None:
    told = place.run(place.volume({"probe": True, "max_running": 3}))
    assert is_right(place, expected), told
    assert set(place.count("done").values()) == {1}
    assert len(place.submissions("probe")) == 1
    (segment,) = place.submissions("segment")
    assert "--array=0-3%3" in segment, segment
    assert not place.jobs()


def test_an_array_is_split_where_the_qos_takes_few(
    place: Place, expected: list[np.ndarray]
) -> None:
    # 12 parts fit, but not beside what the user has in the queue already
    other = admin(
        "runuser", "-u", "magneton-submitter", "--", "sbatch", "--parsable", "--qos=few", "--hold",
        "--array=0-13", "--chdir=/", "--output=/dev/null", "--wrap=true",
    ).strip()  # fmt: skip
    config = place.volume(
        {"qos": "few", "target_minutes": 0.00001, "max_queued": 12, "max_running": 12}
    )
    place.run(config)
    admin("scancel", other)
    assert is_right(place, expected)
    assert set(place.count("done").values()) == {1}
    assert len(place.submissions("segment")) > 2


def test_out_of_memory_and_out_of_time_get_more(place: Place, expected: list[np.ndarray]) -> None:
    eat = "x = bytearray(900 << 20); x[::4096] = bytes(len(x[::4096])); import time; time.sleep(20)"
    prelude = [
        f'if [ "$SLURM_ARRAY_TASK_ID" = 1 ] && [ "$SLURM_MEM_PER_NODE" -lt 800 ]; then /usr/bin/python3 -c "{eat}"; fi',
        f'if [ "$SLURM_ARRAY_TASK_ID" = 2 ] && [ ! -e {place.path}/slept ]; then touch {place.path}/slept; sleep 200; fi',
    ]
    config = place.volume({"prelude": prelude, "time": "00:01:00", "target_minutes": 0.5})
    told = place.run(config)
    assert is_right(place, expected), told
    assert "out of memory with 600 MiB" in told
    assert "out of time after" in told
    again = place.submissions("segment")[1:]
    assert any(
        "--array=1 " in a and "--mem=900M" in a and "--time=0-00:01:00" in a for a in again
    ), again
    assert any(
        "--array=2 " in a and "--mem=600M" in a and "--time=0-00:02:00" in a for a in again
    ), again
    assert set(place.count("done").values()) == {1}


def test_a_node_is_killed_mid_array(place: Place, expected: list[np.ndarray], mended: None) -> None:
    place.hold.touch()
    running = place.start(
        "run",
        str(place.volume({"prelude": place.holding(), "requeue": False})),
        "--runner",
        "slurm",
    )
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    node = place.in_state("RUNNING")[0][2]
    kill_node(node)
    place.hold.unlink()
    told = finish(running)
    assert is_right(place, expected), told
    assert "node failed" in told
    again = place.submissions("segment")[1:]
    assert again and all(f"--exclude={node}" in a for a in again), again


def test_jobs_cancelled_from_outside_fail_with_a_name(place: Place) -> None:
    place.hold.touch()
    running = place.start(
        "run", str(place.volume({"prelude": place.holding('[ "$SLURM_ARRAY_TASK_ID" = 1 ]')})),
        "--runner", "slurm",
    )  # fmt: skip
    wait_for(lambda: len(place.in_state("RUNNING")) == 1 and place.count("done"), "one is held")
    admin("scancel", place.in_state("RUNNING")[0][0])
    told = finish(running, None)
    assert running.returncode not in (0, EXIT_CONFIG), told
    assert "cancelled by" in told
    assert len(place.submissions("segment")) == 1, "somebody wanted it gone"
    # the next run does what is missing, and only that
    place.hold.unlink()
    done = place.count("done")
    place.run(place.path / "configs" / "tiny.yaml")
    assert all(place.count("done")[k] == n for k, n in done.items())
    assert len(place.count("done")) == 12


def test_the_controller_is_away_for_30_s(
    place: Place, expected: list[np.ndarray], mended: None
) -> None:
    place.hold.touch()
    running = place.start(
        "run", str(place.volume({"prelude": place.holding()})), "--runner", "slurm"
    )
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    stop_controller()
    place.hold.unlink()
    time.sleep(30)
    assert running.poll() is None, "a silent controller is waited for"
    bring_up()
    told = finish(running)
    assert is_right(place, expected), told
    assert len(place.submissions("segment")) == 1


def test_without_accounting(place: Place, expected: list[np.ndarray], mended: None) -> None:
    bring_up(accounting=False)
    fail_once = f'if [ "$SLURM_ARRAY_TASK_ID" = 3 ] && mkdir {place.path}/once; then exit 75; fi'
    place.run(place.volume({"prelude": [fail_once]}))
    assert is_right(place, expected)
    assert len(place.submissions("segment")) == 2


def test_killed_and_started_again_submits_nothing_twice(
    place: Place, expected: list[np.ndarray]
) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding()})
    first = place.start("run", str(config), "--runner", "slurm")
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    os.killpg(first.pid, signal.SIGKILL)
    finish(first, None)
    assert len(place.in_state("RUNNING")) == 4, "jobs go on without who submitted them"
    told = place.magneton("status", str(config))
    assert place.in_state("RUNNING")[0][0].split("_")[0] in told
    place.hold.unlink()
    wait_for(lambda: not place.jobs(), "the jobs end")
    place.run(config)
    assert is_right(place, expected)
    assert set(place.count("done").values()) == {1}


def test_a_job_that_doesn_t_see_the_volume_fails_the_probe(place: Place) -> None:
    config = place.volume({"probe": True, "prelude": ["export PYTHONPATH=/nowhere", "umask 077"]})
    (place.path / "work").mkdir()
    gone = place.path / "affinity"
    told = place.run(config, "--set", "slurm.python=/nowhere/python", code=None)
    assert "probe" in told
    assert not place.submissions("segment")
    assert gone.exists()


def test_usage_is_told_at_the_end(place: Place) -> None:
    place.run(place.volume())
    (report,) = place.path.glob("work/runs/*/1/**/usage*.json")
    usage = json.loads(report.read_text())
    assert usage


@pytest.mark.parametrize("name", ["a b'c\"d", "$(touch PWNED) `id`; x & y"])
def test_an_odd_path(name: str, expected: list[np.ndarray]) -> None:
    place = Place(name)
    try:
        place.run(place.volume())
        assert is_right(place, expected)
        assert not list(place.path.rglob("PWNED"))
    finally:
        place.remove()
