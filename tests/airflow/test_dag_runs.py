"""The DAG run to its end in process, with the real commands on a tiny volume."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.airflow.operators import array_trigger, batches
from magneton_tasks.airflow.operators import process as operators
from magneton_tasks.runners.command import arguments, stage_command
from magneton_tasks.work import results
from magneton_tasks.work.paths import AttemptPaths
from tests.helpers.tiny_volume import OBJECTS, chunk_file, write_tiny_volume
from tests.runners.slurm.conftest import cluster, python, volume  # noqa: F401 (fixtures)
from tests.runners.slurm.fake_cluster import Cluster, Volume

pytestmark = [
    pytest.mark.usefixtures("database", "warm"),
    # Airflow's server code and the scheduler run in this process, with all warnings of their own.
    pytest.mark.filterwarnings("ignore"),
]

Load = Callable[[Path], dict[str, Any]]


class Run:
    """A finished run: states of its tasks, and the results that the commands left."""

    def __init__(self, dag_run: Any, work: Path) -> None:
        self.state = str(dag_run.state)
        self.tasks: dict[str, list[Any]] = {}
        for ti in sorted(dag_run.get_task_instances(), key=lambda ti: ti.map_index):
            self.tasks.setdefault(ti.task_id, []).append(ti)
        attempts = sorted(work.glob("runs/*/*/plan.json"), key=lambda p: p.stat().st_mtime)
        self.attempt = attempts[-1].parent

    def states(self, task: str) -> list[str]:
        return [str(ti.state) for ti in self.tasks[task]]

    def names(self, task: str) -> list[str]:
        """Of mapped tasks, as Airflow shows them."""
        return [ti.rendered_map_index for ti in self.tasks[task]]

    def result(self, name: str) -> dict[str, Any]:
        return results.read(AttemptPaths(self.attempt))[name]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dag.test()` sleeps a second whenever nothing can begin, also where tasks were only skipped."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.05)))


@pytest.fixture
def run_dag(load_dags: Load, tmp_path: Path) -> Callable[..., Run]:
    def run(conf: dict[str, Any] | None = None) -> Run:
        dag = load_dags(tmp_path / "configs")["instance_segmentation.tiny"]
        for task in dag.tasks:
            if task.is_mapped:
                task.partial_kwargs["retry_delay"] = timedelta(0)
        return Run(dag.test(run_conf=conf), tmp_path / "work")

    return run


def test_run_is_green_and_a_second_one_does_only_what_changed(
    run_dag: Callable[..., Run], tmp_path: Path
) -> None:
    write_tiny_volume(tmp_path, "local: {workers: 1}\n", sizes="few")
    first = run_dag()
    assert first.state == "success"
    assert first.states("segment") == first.states("count") == ["success"] * 2
    assert first.names("segment") == ["block 0", "block 1"] and first.names("apply") == ["cell 0"]
    # nothing is too large for its cell: an empty stage is skipped, and verify runs all the same
    assert first.states("downsample") == ["skipped"] and first.states("verify") == ["success"]
    assert first.states("announce") == ["success"] and first.states("release") == ["success"]
    assert first.result("verify")["objects"] == OBJECTS
    assert (tmp_path / "segmentation" / "info").is_file()

    second = run_dag({"pool.rule": "any", "segment.threshold": 0.7})
    assert second.state == "success"
    assert second.states("segment") == ["skipped"] and second.states("count") == ["skipped"]
    assert second.states("pool") == ["success"] and second.states("apply") == ["success"]
    assert "rule: any" in (second.attempt / "config.yaml").read_text()

    third = run_dag({"pool.rule": "any", "segment.threshold": 0.7})
    assert third.state == "success"
    ran = {task for task, tis in third.tasks.items() if any(ti.state == "success" for ti in tis)}
    looked = {"plan", "batches.verify", "verify", "release"}
    assert ran == looked, "nothing to do, and nothing new to announce"
    assert third.tasks["verify"][0].rendered_map_index == "0.7"


def test_of_several_thresholds_one_that_fails_stops_no_other_and_the_run_is_red(
    run_dag: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_volume(tmp_path, "local: {workers: 1}\n", "exact", "at-{threshold}", "few")

    def killed_at_the_second(stage: str, attempt: str, batch: int | None = None) -> list[str]:
        if (stage, batch) != ("apply", 1):
            return stage_command(stage, attempt, batch)
        return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]

    monkeypatch.setattr(operators, "stage_command", killed_at_the_second)
    conf = {"thresholds": "0.7, .3"}
    red = run_dag(conf)
    assert red.state == "failed" and red.states("verify") == ["success", "failed"]
    assert red.names("verify") == ["0.3", "0.7"]
    assert red.states("announce") == ["upstream_failed"]
    assert red.states("segment") == ["success"] * 2
    assert red.states("round0") == red.states("pool") == ["success"]
    assert red.states("cut") == ["success"] * 2 and red.states("apply") == ["success", "skipped"]
    assert red.names("apply") == ["0.3, cell 0", "0.7, cell 0"]
    ends = {t: results.is_proved(AttemptPaths(red.attempt).at(t)) for t in ("0.3", "0.7")}
    assert ends == {"0.3": True, "0.7": False}

    monkeypatch.setattr(operators, "stage_command", stage_command)
    green = run_dag(conf)
    assert green.state == "success" and green.states("cut") == ["skipped"]
    assert green.names("apply") == ["0.7, cell 0"]
    assert green.states("verify") == ["success"] * 2 and green.states("announce") == ["success"]


#: `magneton ARGUMENTS` whose rounds hold few rows, on a volume that needs one round only.
_FEW_ROWS = """
from magneton_tasks.cli.main import main
from magneton_tasks.stages.planning import group_work
group_work.budget_of = lambda *_: 40
main()
"""


def test_rounds_go_on_after_a_kill_between_two_and_those_that_nobody_needs_are_skipped(
    run_dag: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_volume(tmp_path, "local: {workers: 2}\n", "exact", sizes="some")
    asked: list[str] = []

    def few_rows(stage: str, attempt: str) -> list[str]:
        asked.append(stage)
        return [sys.executable, "-c", _FEW_ROWS, *arguments(stage_command(stage, attempt))]

    def end_of_all(stage: str, *given: Any) -> list[str]:
        """Round 1 is killed as often as it is tried, and so is whoever would go on."""
        if stage != "round1":
            return stage_command(stage, *given)
        return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]

    monkeypatch.setattr(batches, "stage_command", few_rows)
    monkeypatch.setattr(operators, "stage_command", end_of_all)
    red = run_dag()
    assert red.state == "failed"
    assert red.names("segment") == [f"block {k}" for k in range(4)]
    assert red.states("round0") == ["success"] * 4 and set(red.states("round1")) == {"failed"}
    assert red.states("release") == ["success"], "the volume is free for the next run"
    assert asked == ["round0", "round1"], "nobody looks for groups of what can't follow"

    def asking(stage: str, attempt: str) -> list[str]:
        asked.append(stage)
        return stage_command(stage, attempt)

    # by now with all memory: what is planned is taken over, only what follows is cut anew
    asked.clear()
    monkeypatch.setattr(batches, "stage_command", asking)
    monkeypatch.setattr(operators, "stage_command", stage_command)
    green = run_dag()
    assert green.state == "success"
    for stage in ("segment", "faces", "round0"):
        assert green.states(stage) == ["skipped"], stage
    assert green.names("round1") == red.names("round1")
    assert green.states("round2") == ["success"] and green.states("cut") == ["success"] * 4
    assert all(green.states(f"round{k}") == ["skipped"] for k in range(3, 8))
    assert asked == ["round0", "round1", "round2", "round3", "cut"], "nobody asks after round 3"
    assert green.states("verify") == ["success"]
    assert green.result("verify")["objects"] == OBJECTS


def test_bad_block_makes_the_run_red_and_costs_only_itself(
    run_dag: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_volume(tmp_path, "local: {workers: 2}\n", sizes="many")
    torn = chunk_file(tmp_path / "affinity", (30, 24, 28))  # of the second batch alone
    content = torn.read_bytes()

    def tear(stage: str, *arguments: Any) -> list[str]:  # after plan, which looks at the input too
        if stage == "segment":
            torn.write_bytes(content[: len(content) // 2])
        return stage_command(stage, *arguments)

    monkeypatch.setattr(operators, "stage_command", tear)
    red = run_dag()
    assert red.state == "failed"
    assert sorted(red.states("segment")) == ["failed", "success"]
    failed = next(ti for ti in red.tasks["segment"] if str(ti.state) == "failed")
    assert failed.try_number == 1, "no retry mends bad data"
    for stage in ("count", "pool", "apply", "downsample", "verify"):
        assert red.states(stage) == ["upstream_failed"]
    assert red.states("release") == ["success"], "the volume is free for the next run"
    failing = [red.result(f"segment-{n:04d}") for n in range(2)]
    assert sum(r["done"] for r in failing) == 18 - sum(r["failed"] for r in failing)
    assert 0 < sum(r["failed"] for r in failing) < 6, "the batch's other blocks are done first"

    monkeypatch.setattr(operators, "stage_command", stage_command)
    torn.write_bytes(content)
    green = run_dag()
    assert green.state == "success"
    redone = [green.result(f"segment-{n:04d}") for n in range(len(green.tasks["segment"]))]
    assert sum(r["done"] for r in redone) == sum(r["failed"] for r in failing)
    assert green.result("verify")["objects"] == OBJECTS


def test_killed_worker_is_retried_and_redoes_only_what_is_missing(
    run_dag: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_volume(tmp_path, "local: {workers: 1}\n", sizes="many")
    tries: list[str] = []

    def die_halfway(stage: str, attempt: str, batch: int | None = None) -> list[str]:
        command = stage_command(stage, attempt, batch)
        if stage != "segment":
            return command
        tries.append(stage)
        if len(tries) > 1:
            return command
        code = (
            "import os, signal, subprocess, sys\n"
            "os.environ['MAGNETON_DIE_WITH_PARENT'] = str(os.getpid())  # as Airflow's process does\n"
            "subprocess.run([*sys.argv[1:], '--part', '0/2'], check=True)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        return [sys.executable, "-c", code, *command]

    monkeypatch.setattr(operators, "stage_command", die_halfway)
    run = run_dag()
    assert run.state == "success"
    (segment,) = run.tasks["segment"]
    assert segment.try_number == 2 and len(tries) == 2
    assert run.names("segment") == ["batch 0: blocks 0-17"]
    assert run.result("segment-0000")["done"] == 9
    assert run.result("segment-0000")["skipped"] == 9
    assert run.result("verify")["objects"] == OBJECTS


def test_a_run_on_a_cluster_without_services_is_green(
    load_dags: Load,
    volume: Volume,  # noqa: F811
    cluster: Cluster,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a fake one, with stand-ins for workers: no triggerer waits."""
    monkeypatch.setattr(array_trigger, "SETTLE_S", 0)
    config = volume()
    run = load_dags(config.parent)["instance_segmentation.tiny"].test()
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    assert str(run.state) == "success", states
    names = [about["name"].split("-")[1] for about in cluster.jobs.values()]
    assert names == ["probe", "segment", "count", "pool", "apply", "verify"]
