"""`magneton run --runner slurm` and `magneton attach` on a fake cluster, with stand-ins for workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from magneton_tasks.runners.arrays.job_files import jobs_of_tasks
from magneton_tasks.runners.arrays.progress import Progress
from magneton_tasks.stages.gather import gather
from magneton_tasks.work import task_logs
from magneton_tasks.work.attempt import Attempt
from tests.cli.menu.terminal import Terminal
from tests.helpers.file_limits import assert_few_files
from tests.runners.slurm.fake_cluster import Cluster, Volume

pytestmark = pytest.mark.usefixtures("warm")

ORDER = ("segment", "count", "pool", "apply", "verify")


def magneton(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "magneton_tasks", *arguments],
        stdin=subprocess.DEVNULL,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=200)
    return process.returncode, out


def tasks(cluster: Cluster) -> list[str]:
    """Stage of each array that was submitted."""
    return [about["name"].split("-")[1] for about in cluster.jobs.values()]


def states(cluster: Cluster) -> set[str]:
    return {t["state"] for about in cluster.jobs.values() for t in about["tasks"].values()}


def eventually(found: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 120
    while not found():
        assert time.monotonic() < until, what
        time.sleep(0.2)


def results(config: Path) -> list[Path]:
    return list(config.parent.parent.glob("work/runs/*/1/results/verify.json"))


def lease(config: Path) -> Path:
    return config.parent.parent / "work" / "lease"


def test_every_stage_is_an_array_and_the_probe_comes_first(
    cluster: Cluster, volume: Volume
) -> None:
    config = volume()
    code, out = ends(magneton("run", str(config)))
    assert code == 0, out
    assert tasks(cluster) == ["probe", *ORDER]
    assert re.search(r"segment +4 jobs, longest 10 s", out)
    assert "next time" in out and "blocks        12" in out
    assert not lease(config).exists()
    done = subprocess.run(
        [sys.executable, "-m", "magneton_tasks", "status", str(config), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    jobs = json.loads(done.stdout)["jobs"]
    assert {j["task"]: j["indexes"] for j in jobs}["segment-0000"] == "0-3"
    assert {j["job"] for j in jobs} == set(cluster.jobs)


def test_a_probe_that_fails_is_the_only_job(cluster: Cluster, volume: Volume) -> None:
    cluster.set(rules={"0": {"state": "FAILED", "exit": "127:0", "node": "n2"}})
    config = volume("tries: 1")
    code, out = ends(magneton("run", str(config)))
    assert code != 0
    assert tasks(cluster) == ["probe"]
    assert "failed to run" in out and "on n2" in out and "no other job was submitted" in out


def test_ctrl_c_and_cancel_leaves_nothing_in_the_queue(cluster: Cluster, volume: Volume) -> None:
    cluster.set(rules={"*": "wait"})
    config = volume("probe: false")
    with Terminal(config.parent, "run", str(config)) as run:
        run.until("Ctrl-C asks")
        eventually(lambda: cluster.jobs, "the array is submitted")
        run.interrupt()
        run.answer("cancel them (c)? [l]: ", "c")
        assert run.ends() == 130
        assert "cancelled 1 array" in run.shown
    assert states(cluster) == {"CANCELLED"}
    assert not lease(config).exists()


def test_ctrl_c_and_leave_goes_on_in_the_background(cluster: Cluster, volume: Volume) -> None:
    cluster.set(rules={"*": "wait"})
    config = volume("probe: false")
    with Terminal(config.parent, "run", str(config)) as run:
        run.until("Ctrl-C asks")
        eventually(lambda: cluster.jobs, "the array is submitted")
        run.interrupt()
        run.answer("cancel them (c)? [l]: ", "")
        assert run.ends() == 130
        assert "the run continues in process" in run.shown
    assert states(cluster) == {"PENDING"} and lease(config).exists()
    cluster.set(rules={})
    eventually(lambda: results(config) and not lease(config).exists(), "it ends by itself")
    assert tasks(cluster) == list(ORDER)


def test_detached_it_plans_at_once_and_runs_on(cluster: Cluster, volume: Volume) -> None:
    config = volume("probe: false")
    code, out = ends(magneton("run", str(config), "--detach"))
    assert code == 0 and "segment   12 of 12 in 1 batch" in out and "magneton attach" in out
    eventually(lambda: results(config) and not lease(config).exists(), "it ends by itself")
    assert tasks(cluster) == list(ORDER)


def test_detach_says_what_is_wrong_at_once(cluster: Cluster, volume: Volume) -> None:
    config = volume()
    code, out = ends(magneton("run", str(config), "--detach", "--set", 'slurm.time="09:00:00"'))
    assert code == 78 and "slurm.time is 9 h" in out
    assert cluster.jobs == {}


def test_a_killed_controller_is_followed_by_another_and_no_job_is_doubled(
    cluster: Cluster, volume: Volume
) -> None:
    config = volume("probe: false")
    killed(cluster, config)
    code, out = ends(magneton("attach", str(config)))
    assert code == 0, out
    assert tasks(cluster) == list(ORDER)


def killed(cluster: Cluster, config: Path) -> None:
    """A controller that is killed after it submitted."""
    cluster.set(rules={"*": "wait"})
    run = magneton("run", str(config))
    eventually(lambda: cluster.calls("sbatch") and cluster.jobs, "the array is submitted")
    controller = psutil.Process(run.pid)
    controller.suspend()
    asked = controller.children(recursive=True)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    psutil.wait_procs(asked)  # a squeue that it started would still let the cluster go on
    assert states(cluster) == {"PENDING"}
    cluster.set(rules={})


def test_a_rerun_beside_a_fresh_lease_names_the_jobs_and_how_to_go_on_with_them(
    cluster: Cluster, volume: Volume
) -> None:
    config = volume("probe: false")
    killed(cluster, config)
    (job,) = cluster.jobs
    code, out = ends(magneton("run", str(config)))
    assert code == 75, out
    assert f"job {job} (magneton-segment-0000-" in out and "PENDING" in out
    assert f"`magneton attach {config}`" in out
    assert states(cluster) == {"PENDING"}, "another process may still follow them"
    code, out = ends(magneton("attach", str(config)))
    assert code == 0, out
    # found by its name, if the kill came before it was noted
    assert f"continues with job {job}" in out or f"found job {job}, submitted before" in out
    assert tasks(cluster) == list(ORDER)


def test_a_rerun_cancels_the_jobs_that_nobody_follows_and_says_which(
    cluster: Cluster, volume: Volume
) -> None:
    config = volume("probe: false")
    killed(cluster, config)
    (job,) = cluster.jobs
    for guard in (lease(config), config.parent.parent / "segmentation" / "lease"):
        guard.unlink()
    other = {"name": "magneton-segment-0000-aa-1", "comment": "magneton volume=other work=/other"}
    with cluster.edited() as state:
        state["jobs"]["7"] = {**state["jobs"][job], **other, "tasks": {"0": {"state": "PENDING"}}}
    code, out = ends(magneton("run", str(config)))
    assert code == 0, out
    assert re.search(rf"job {job} \(magneton-segment-0000-\S+, PENDING\) of run cli_", out)
    assert {t["state"] for t in cluster.jobs[job]["tasks"].values()} == {"CANCELLED"}
    (call,) = cluster.calls("scancel")
    assert call[2:] == ["--quiet", job], "another volume's job is left alone"
    assert tasks(cluster).count("segment") == 3, (
        "the dead one's, the other volume's, and this run's"
    )


def test_who_attaches_takes_the_run_over(cluster: Cluster, volume: Volume) -> None:
    cluster.set(rules={"*": "wait"})
    config = volume("probe: false")
    first = magneton("run", str(config))
    eventually(lambda: cluster.calls("sbatch") and cluster.jobs, "the array is submitted")
    cluster.set(frozen=True)
    owner = next(config.parent.parent.glob("work/runs/*/1/slurm/segment-0000/owner"))
    before = owner.read_text()
    second = magneton("attach", str(config))
    eventually(lambda: "attach" in " ".join(psutil.Process(second.pid).cmdline()), "it runs")
    eventually(lambda: owner.read_text() != before, "the second owns the jobs")
    cluster.set(frozen=False, rules={})
    (first_code, said), (code, out) = ends(first), ends(second)
    assert code == 0, out
    assert first_code == 130 and "another process follows this run now" in said
    assert tasks(cluster) == list(ORDER)


def test_few_files_are_left_of_many_jobs_and_all_that_they_told(
    cluster: Cluster, volume: Volume
) -> None:
    config = volume("tries: 2")
    cluster.set(rules={"1.1": {"state": "NODE_FAIL", "node": "n2"}})
    code, out = ends(magneton("run", str(config)))
    assert code == 0, out
    work = config.parent.parent / "work"
    (plan,) = work.glob("runs/*/*/plan.json")
    attempt = Attempt.open(plan.parent)
    before, (job, *_) = status(config)["jobs"], jobs_known(attempt)["segment-0000"].jobs
    said = task_logs.tail(attempt.paths.job_log("segment", 0, f"{job.job}_0"), 10_000)
    assert said is not None
    gather(attempt)
    assert_few_files(work)
    assert status(config)["jobs"] == before
    assert task_logs.tail(attempt.paths.job_log("segment", 0, f"{job.job}_0"), 10_000) == said
    gathered = (attempt.paths.logs / "slurm" / "segment-0000.log").read_text()
    assert "==> job-1.sh <==\n#!/bin/bash" in gathered, "what was submitted"
    code, out = ends(magneton("attach", str(config)))
    assert code == 0, out
    assert len(cluster.jobs) == len({j["job"] for j in before}) + 1, "verify alone, once more"


def status(config: Path) -> Any:
    command = [sys.executable, "-m", "magneton_tasks", "status", str(config), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def jobs_known(attempt: Attempt) -> dict[str, Progress]:
    return dict(jobs_of_tasks(attempt.paths.root))
