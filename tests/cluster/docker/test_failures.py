"""What is killed, runs out of memory, or is stopped: on a real engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.errors import EXIT_CONFIG, EXIT_TEMPORARY
from magneton_tasks.runners.docker.containers import Task
from magneton_tasks.runners.docker.engine import Engine
from magneton_tasks.runners.docker.task import Workshop, stage_task
from tests.cluster.docker.conftest import MARKS, count, expect_same_as_local, own, records, wait_for
from tests.helpers.told import Sentences
from tests.helpers.volumes import Run, plan_run
from tests.helpers.volumes import make_volume as write_volume

pytestmark = MARKS

#: Blocks of noise: some seconds of work each, and 300 bytes a voxel.
SHAPE = (64, 96, 192)
SETTINGS = {
    "block.size": [64, 96, 72], "block.overlap": [8, 8, 8], "segment.merge_function": "aff50_his256",
    "runner.offered": ["local", "docker"], "runner.default": "docker", "docker.workers": 1,
}  # fmt: skip


def make_volume(place: Path, **docker: object) -> Path:
    """Noise: many fragments, so that blocks take time and memory; owned by the owner."""
    noise = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    more = {f"docker.{key}": value for key, value in docker.items()}
    config = write_volume(place / "volume", noise, SETTINGS | more)
    own(place)
    return config


def planned(config: Path) -> tuple[Run, Workshop]:
    run = plan_run(config)
    own(config.parent)
    return run, Workshop.of_attempt(run.attempt.paths.root)


def batch_of(run: Run, retry: int = 1) -> Task:
    return stage_task(run.plan, run.attempt.paths.root, "segment", 0, retry)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[list[object]]:
    """Runs ``work`` beside the block; its result, or error, is in the list at the end."""
    result: list[object] = []

    def run() -> None:
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield result
    thread.join(120)
    assert not thread.is_alive()


def begun_blocks(work: Path) -> Counter[int]:
    return count(work, "started")


def expect_whole(config: Path) -> None:
    """What is left to do makes the result that a local run makes."""
    work = config.parent / "work"
    assert count(work, "done").keys() == {0, 1, 2}
    assert max(count(work, "done").values()) == 1, "no block is done twice"
    assert sum(begun_blocks(work).values()) <= 3 + 1, "at most one block is begun again"


# ------------------------------------------------------------------ memory
def test_out_of_memory_is_told_and_tried_again_with_more(place: Path) -> None:
    config = make_volume(place, memory="330MiB", max_memory="3GiB", memory_growth=2)
    run, workshop = planned(config)
    lines = Sentences()
    ending = workshop.run(batch_of(run), lines.take)
    assert ending.exit_code == 0, lines
    told = [line for line in lines if "out of memory" in line]
    assert told and "trying again with 660.0 MiB" in told[0], lines
    assert "at block" in told[0] and "330.0 MiB were allowed" in told[0], told
    assert "projected were" in told[0]
    assert count(config.parent / "work", "done").keys() == {0, 1, 2}


def test_where_no_more_memory_may_be_had_it_is_for_good(place: Path) -> None:
    config = make_volume(place, memory="330MiB", max_memory="3GiB", memory_growth=2)
    run, workshop = planned(config)
    docker = workshop.config.docker.model_copy(update={"max_memory": workshop.config.docker.memory})
    workshop.config = workshop.config.model_copy(update={"docker": docker})
    ending = workshop.run(batch_of(run), lambda _: None)
    assert ending.exit_code == EXIT_CONFIG
    assert "docker.max_memory" in str(ending.cause) and "out of memory" in str(ending.cause)


# ------------------------------------------------------------------ kills
def test_a_killed_container_is_tried_again_and_loses_one_block(place: Path, engine: Engine) -> None:
    config = make_volume(place)
    work = config.parent / "work"
    command = [sys.executable, "-m", "magneton_tasks", "run", str(config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        wait_for(lambda: len(begun_blocks(work)) >= 2, "the second block")
        (container,) = engine.find({"magneton.stage": "segment", "magneton.work": str(work)})
        engine.client.kill(container["Id"], "KILL")
        told = run.stdout.read()
        assert run.wait() == 0, told
    assert "trying again" in told
    expect_whole(config)
    assert engine.find({"magneton.work": str(work)}) == []
    expect_same_as_local(config, place)


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_sigterm_ends_the_worker_with_75(place: Path, engine: Engine, how: str) -> None:
    """`docker stop`, in the middle of a block: nothing half-written, and the next try goes on."""
    config = make_volume(place)
    work = config.parent / "work"
    run, workshop = planned(config)
    with in_thread(lambda: workshop.run(batch_of(run), lambda _: None)) as result:
        wait_for(lambda: len(begun_blocks(work)) >= 2, "the second block")
        (container,) = workshop.stopper.running
        began = time.monotonic()
        if how == "stop":
            engine.stop(container, 30)
        else:
            engine.client.kill(container, "INT")
    assert time.monotonic() - began < 20, "10 s, and what a busy engine takes to say so"
    assert getattr(result[0], "exit_code", result) == EXIT_TEMPORARY
    assert not list(work.rglob("*.tmp"))
    assert workshop.run(batch_of(run, 2), lambda _: None).exit_code == 0
    expect_whole(config)


def test_sigterm_during_start_up_ends_it_with_75(place: Path, engine: Engine) -> None:
    """Before Python has set its handler; process 1 would ignore the signal."""
    run, workshop = planned(make_volume(place))
    with in_thread(lambda: workshop.run(batch_of(run), lambda _: None)) as result:
        wait_for(lambda: workshop.stopper.running, "the container")
        (container,) = workshop.stopper.running
        wait_for(lambda: engine.process_id(container), "its process")
        engine.stop(container, 30)
    assert getattr(result[0], "exit_code", result) == EXIT_TEMPORARY


# ------------------------------------------------------------------ Airflow's tasks
#: A task as Airflow's own process runs it: SIGTERM calls on_kill.
TASK = """
import json, signal, sys
from types import SimpleNamespace
from magneton_tasks.airflow.operators.container import StageContainerOperator
from magneton_tasks.config.read import load_config
config, attempt, retry = sys.argv[1], sys.argv[2], int(sys.argv[3])
task = StageContainerOperator(task_id="segment", stage="segment", attempt=attempt,
                              batch={"batch": 0}, config=load_config(config))
signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
try:
    print(json.dumps(task.execute({"ti": SimpleNamespace(try_number=retry)})))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(1)
"""


def start_task(config: Path, attempt: Path, retry: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", TASK, str(config), str(attempt), str(retry)]
    environ = {**os.environ, "AIRFLOW_HOME": str(config.parent / "airflow")}
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_the_retry_of_a_killed_airflow_task_replaces_its_container(
    place: Path, engine: Engine
) -> None:
    config = make_volume(place)
    work = config.parent / "work"
    run = plan_run(config)
    own(config.parent)
    root = run.attempt.paths.root
    with start_task(config, root, 1) as task:
        wait_for(lambda: len(begun_blocks(work)) >= 2, "the second block")
        task.kill()
    (orphan,) = engine.find({"magneton.work": str(work)})
    assert orphan["State"] == "running"
    with start_task(config, root, 2) as task:
        assert task.stdout is not None
        told = task.stdout.read()
        assert task.wait() == 0, told
    result = json.loads(told.splitlines()[-1])
    assert result["batch"] == 0 and result["failed"] == 0 and result["skipped"] >= 1
    assert "left by an earlier try" in told
    assert engine.find({"magneton.work": str(work)}) == []
    expect_whole(config)


def test_a_batch_stopped_from_airflow_stops_its_container(place: Path, engine: Engine) -> None:
    """As Airflow does: SIGTERM, and after 5 s SIGKILL."""
    config = make_volume(place)
    work = config.parent / "work"
    run = plan_run(config)
    own(config.parent)
    with start_task(config, run.attempt.paths.root, 1) as task:
        wait_for(lambda: begun_blocks(work), "the first block")
        began = time.monotonic()
        task.send_signal(signal.SIGTERM)
        try:
            task.wait(5)
        except subprocess.TimeoutExpired:
            task.kill()
        wait_for(
            lambda: (
                not [
                    c for c in engine.find({"magneton.work": str(work)}) if c["State"] == "running"
                ]
            ),
            "the container's end",
        )
    assert time.monotonic() - began < 20, "10 s, and what a busy engine takes to say so"


def test_what_a_retry_mends_and_what_not(place: Path) -> None:
    config = make_volume(place)
    run = plan_run(config)
    own(config.parent)
    frozen = run.attempt.paths.config
    text = frozen.read_text()
    for before, after, kind in (
        ("engine: null", f"engine: 'unix://{place}/none.sock'", "AirflowException"),
        ("image: magneton-tasks", "image: no-such-image", "AirflowFailException"),
    ):
        assert before in text
        frozen.write_text(text.replace(before, after))
        # the operator connects where the YAML file says
        with start_task(frozen, run.attempt.paths.root, 1) as task:
            assert task.stdout is not None
            told = task.stdout.read()
        assert f"\n{kind} " in f"\n{told}", told
        assert ("none.sock" if "engine" in before else "no-such-image") in told


def test_a_killed_run_s_containers_are_removed_by_the_next(place: Path, engine: Engine) -> None:
    """`magneton run` itself killed: its container works on, until the next run has the lease."""
    config = make_volume(place)
    work = config.parent / "work"
    command = [sys.executable, "-m", "magneton_tasks", "run", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        wait_for(lambda: begun_blocks(work), "the first block")
        run.kill()
    assert engine.find({"magneton.work": str(work)})
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of an earlier run" in done.stdout
    assert engine.find({"magneton.work": str(work)}) == []
    assert {r.key for r in records(work) if r.state == "done"} == {0, 1, 2}
