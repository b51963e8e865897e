"""Runs from the command line on a real cluster, and what goes wrong in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY
from tests.cluster.slurm.cluster import (
    PYTHON,
    ROOT,
    USER,
    Place,
    admin,
    bring_up,
    finish,
    in_segment,
    kill_node,
    stop_controller,
    submit,
    submitter,
    wait_for,
)
from tests.cluster.slurm.conftest import is_right
from tests.helpers.file_limits import assert_few_files

#: For tests of what happens to jobs; voxels are compared where the whole pipeline runs.
ONLY_SEGMENT = ("--stages", "segment")
BLOCKS = list(range(12))


def is_done_once(place: Place) -> bool:
    """Whether each block was computed, and none of them twice."""
    counts = place.count("done")
    return sorted(counts) == BLOCKS and set(counts.values()) == {1}


def test_a_run_is_identical_to_a_local_one(place: Place, expected: list[np.ndarray]) -> None:
    told = place.run(place.volume({"probe": True, "max_running": 3}))
    assert is_right(place.path, expected), told
    assert is_done_once(place)
    assert len(place.submissions("probe")) == 1
    (segment,) = place.submissions("segment")
    assert "--array=0-3%3 " in segment, segment
    assert not place.jobs()
    # and what it used of what it had
    (report,) = place.path.glob("work/runs/*/1/**/usage.json")
    stages = {s["stage"]: s for s in json.loads(report.read_text())["stages"]}
    assert stages["segment"]["jobs"] == 4 and stages["segment"]["cpu_s"] > 0.5
    assert 50e6 < stages["segment"]["peak_bytes"] <= stages["segment"]["reserved_bytes"]
    assert "next time" in told
    assert_few_files(place.path / "work")


def test_an_array_is_split_where_the_qos_takes_few(place: Place) -> None:
    # the QOS takes 20 jobs of a user, and 12 are there already
    others = admin(
        "runuser",
        "-u",
        USER,
        "--",
        "sbatch",
        "--parsable",
        "--qos=few",
        "--hold",
        "--array=0-11",
        "--chdir=/",
        "--output=/dev/null",
        "--wrap=true",
    ).strip()
    few = {"qos": "few", "target_minutes": 0.00001, "max_queued": 12, "max_running": 12}
    place.run(place.volume(few), *ONLY_SEGMENT)
    admin("scancel", others)
    assert is_done_once(place)
    assert len(place.submissions("segment")) > 1


def test_out_of_memory_and_out_of_time_get_more(place: Place) -> None:
    eat = (
        "x = bytearray(1200 << 20); x[::4096] = bytes(len(x[::4096])); import time; time.sleep(30)"
    )
    slept = place.path / "slept"
    prelude = [
        in_segment(f"if [ $SLURM_MEM_PER_NODE = 800 ]; then /usr/bin/python3 -c '{eat}'; fi", "1"),
        in_segment(f"if mkdir {slept}; then sleep 200; fi", "2"),
    ]
    config = place.volume({"prelude": prelude, "time": "00:01:00", "target_minutes": 0.5})
    told = place.run(config, *ONLY_SEGMENT)
    assert is_done_once(place), told
    assert "_1 on n" in told and "out of memory with 800.0 MiB" in told
    assert "_2 on n" in told and "out of time after 1 min" in told
    first, *again = place.submissions("segment")
    assert "--mem=800M" in first and "--time=0-00:01:00" in first
    memory = [a for a in again if "--array=1 " in a]
    assert len(memory) == 1 and "--mem=1200M" in memory[0] and "--time=0-00:01:00" in memory[0]
    longer = [a for a in again if "--array=2 " in a]
    assert len(longer) == 1 and "--mem=800M" in longer[0] and "--time=0-00:02:00" in longer[0]


@pytest.mark.usefixtures("mended")
def test_a_node_is_killed_mid_array(place: Place) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding(), "requeue": False})
    running = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    jobs = place.in_state("RUNNING")
    node = jobs[0][2]
    lost = sorted(int(j[0].split("_")[1]) for j in jobs if j[2] == node)
    assert 0 < len(lost) < 4
    kill_node(node, len(lost))
    place.hold.unlink()
    told = finish(running)
    assert is_done_once(place), told
    assert "node failed" in told and node in told
    again = place.submissions("segment")[1:]
    assert again and not any("--exclude=" in a for a in again), "a node that fails once may be fine"
    indexes = " ".join(a.split("--array=")[1].split()[0] for a in again)
    assert all(str(i) in indexes or "-" in indexes for i in lost), (lost, indexes)


@pytest.mark.parametrize("requeue", [True, False])
def test_jobs_give_way_to_others(place: Place, requeue: bool) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding(), "requeue": requeue})
    running = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    submit("--partition=urgent", "--nodes=3", "--exclusive", "--wrap=sleep 3")
    wait_for(lambda: not place.in_state("RUNNING"), "they are preempted")
    place.hold.unlink()
    told = finish(running)
    assert is_done_once(place), told
    if requeue:
        assert len(place.submissions("segment")) == 1, "Slurm itself starts them again"
    else:
        assert "preempted" in told and len(place.submissions("segment")) > 1


def test_jobs_cancelled_from_outside_fail_with_a_name(place: Place) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding("1")})
    running = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.count("done")) == 9, "the others are done")
    wait_for(lambda: len(place.in_state("RUNNING")) == 1, "one is left")
    ((job, _, node, _),) = place.in_state("RUNNING")
    admin("scancel", job)
    told = finish(running, None)
    assert running.returncode not in (0, EXIT_CONFIG), told
    assert job in told and node in told and "cancelled by" in told
    assert len(place.submissions("segment")) == 1, "somebody wanted it gone"
    place.hold.unlink()
    place.run(config, *ONLY_SEGMENT)
    assert is_done_once(place)


@pytest.mark.usefixtures("mended")
def test_the_controller_is_away_for_30_s(place: Place) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding()})
    running = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    stop_controller()
    place.hold.unlink()
    time.sleep(30)
    assert running.poll() is None, "a silent controller is waited for"
    bring_up()
    told = finish(running)
    assert is_done_once(place), told
    assert len(place.submissions("segment")) == 1


@pytest.mark.usefixtures("mended")
def test_without_accounting(place: Place) -> None:
    bring_up(accounting=False)
    once = in_segment(f"if mkdir {place.path}/once; then exit 75; fi", "3")
    told = place.run(place.volume({"prelude": [once]}), *ONLY_SEGMENT)
    assert is_done_once(place), told
    first, second = place.submissions("segment")
    assert "--array=0-3 " in first and "--array=3 " in second
    assert "segment" in told.partition("CPU")[0], "usage is told by what the workers measured"


def test_killed_and_attached_again_submits_nothing_twice(place: Place) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding()})
    first = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    os.killpg(first.pid, signal.SIGKILL)
    finish(first, None)
    assert len(place.in_state("RUNNING")) == 4, "jobs go on without who submitted them"
    job = place.in_state("RUNNING")[0][0].split("_")[0]
    assert job in place.magneton("status", str(config))
    again = place.start("attach", str(config))
    time.sleep(5)
    place.hold.unlink()
    told = finish(again)
    assert is_done_once(place), told
    assert len(place.submissions("segment")) == 1


def test_what_would_fail_every_job_fails_the_probe(place: Place) -> None:
    config = place.volume({"probe": True, "python": "/nowhere/python"})
    told = place.run(config, code=None)
    assert "probe" in told and "/nowhere/python" in told
    assert not place.submissions("segment")


def test_an_odd_path() -> None:
    place = Place("a b'c\"d $(touch PWNED) `id`; x & y")
    try:
        told = place.run(place.volume(), *ONLY_SEGMENT)
        assert is_done_once(place), told
        assert not list(place.path.rglob("PWNED"))
    finally:
        place.remove()


def test_200_array_tasks_are_watched_politely(place: Place) -> None:
    """Two hundred real tasks of no work: counted are the calls of all programs."""
    from tests.cluster.slurm.many import watch_tasks

    seen = watch_tasks(place, tasks=200)
    assert seen.completed == 200
    # a look a second at most (poll_s is 1), with one call of squeue, and one of sacct for the ends
    calls = place.calls()
    assert len(place.calls("sbatch")) == 1
    assert len(calls) <= 2 * seen.seconds + 4, calls


def test_a_rerun_names_what_a_killed_controller_left_and_cancels_it_once_the_lease_is_gone(
    place: Place,
) -> None:
    place.hold.touch()
    config = place.volume({"prelude": place.holding()})
    first = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "all parts run")
    os.killpg(first.pid, signal.SIGKILL)
    finish(first, None)
    job = place.in_state("RUNNING")[0][0].split("_")[0]
    told = place.run(config, *ONLY_SEGMENT, code=EXIT_TEMPORARY)
    assert f"job {job} (magneton-segment-" in told and f"`magneton attach {config}`" in told
    for guard in ("work", "segmentation"):  # as if it had turned stale
        (place.path / guard / "lease").unlink()
    second = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.submissions("segment")) == 2, "the rerun submits its own")
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "and nothing else works")
    assert job not in {i.split("_")[0] for i, *_ in place.in_state("RUNNING")}
    place.hold.unlink()
    told = finish(second)
    assert f"job {job} (magneton-segment-" in told
    assert is_done_once(place), told


def test_after_a_batch_was_cancelled_the_next_is_not_submitted(place: Place) -> None:
    place.hold.touch()
    # one batch of four parts at a time
    small = {"max_queued": 4, "max_running": 4, "target_minutes": 0.00001}
    config = place.volume({**small, "prelude": place.holding()})
    running = place.start("run", str(config), "--runner", "slurm", *ONLY_SEGMENT)
    wait_for(lambda: len(place.in_state("RUNNING")) == 4, "the first batch runs")
    job = place.in_state("RUNNING")[0][0].split("_")[0]
    admin("scancel", job)
    told = finish(running, EXIT_TEMPORARY)
    assert "cancelled by" in told and "segment-0001: not submitted" in told
    assert len(place.submissions("segment")) == 1
    place.hold.unlink()
    place.run(config, *ONLY_SEGMENT)
    assert is_done_once(place)


def test_a_dag_is_run_without_services(place: Place, expected: list[np.ndarray]) -> None:
    config = place.volume()
    environ = {**place.environ(), "MAGNETON_AIRFLOW_HOME": str(place.path / "airflow")}
    command = [PYTHON, "-m", "magneton_tasks.airflow.service.run_dag", str(config)]
    done = subprocess.run(
        command,
        env=environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **submitter(),
    )
    assert done.returncode == 0 and "run green" in done.stdout, done.stdout
    assert is_right(place.path, expected)
    assert is_done_once(place)
