"""What containers are, asserted on a real engine: identical results, limits, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from magneton_tasks.cli import main
from magneton_tasks.errors import ConfigError, TemporaryError
from magneton_tasks.runners.docker.containers import specification
from magneton_tasks.runners.docker.engine import Engine
from magneton_tasks.runners.docker.task import Workshop, stage_task
from magneton_tasks.sample import write_sample
from tests.cluster.docker.conftest import MARKS, OWNER, expect_same_as_local, own, records
from tests.helpers import side_by_side
from tests.helpers.tiny_volume import write_tiny_volume
from tests.helpers.volumes import plan_run, read_segmentation

pytestmark = MARKS

DOCKER = "runner: {offered: [docker], default: docker}\n"


def magneton(*arguments: str | Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "magneton_tasks", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def expect_nothing_compiled(work: Path) -> None:
    """The image holds all the code that its workers call."""
    logs = [path.read_text() for path in work.glob("runs/*/*/logs/**/*") if path.is_file()]
    assert len(logs) > 4
    assert [text for text in logs if "compile" in text] == []


def test_a_sample_is_the_same_as_of_the_local_runner(place: Path, engine: Engine) -> None:
    """Any character may stand in a path; files belong to the owner; nothing is left behind."""
    odd = place / 'it\'s "odd" $(touch hacked) `x`: a,b ;é'
    odd.mkdir()
    config = write_sample(odd / "volume", (32, 96, 96))
    own(odd)
    sets = [
        "--set",
        "method=overlap",
        "--set",
        "block.size=[32,64,64]",
        "--set",
        "block.overlap=[8,16,16]",
    ]
    magneton("run", config, "--runner", "docker", *sets)
    work, output = config.parent / "work", config.parent / "segmentation"
    ours = [read_segmentation(f"file://{output}", mip) for mip in range(2)]
    made = [*work.rglob("*"), *output.rglob("*")]
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(OWNER, OWNER)}
    digest = engine.image_digest("magneton-tasks")
    assert {r.image for r in records(work)} == {digest}
    expect_nothing_compiled(work)
    assert engine.find({"magneton.work": str(work)}) == []
    assert not list(place.rglob("hacked"))

    local = place / "local"
    magneton(
        "run",
        config,
        *sets,
        "--set",
        f"paths.work={local}/work",
        "--set",
        f"paths.output=file://{local}/segmentation",
    )
    for mip, voxels in enumerate(ours):
        np.testing.assert_array_equal(
            voxels, read_segmentation(f"file://{local}/segmentation", mip)
        )

    again = magneton("run", config, "--runner", "docker", *sets)
    assert "nothing to do" in again


def test_the_dag_in_containers_is_the_same_as_local(place: Path, engine: Engine) -> None:
    """Airflow as a user who isn't the owner of the volume; plan and release in containers too."""
    config = write_tiny_volume(place, DOCKER + "docker: {workers: 2}\n")
    own(place)
    environ = {**os.environ, "MAGNETON_AIRFLOW_HOME": str(place / "airflow")}
    command = [sys.executable, "-m", "magneton_tasks.airflow.service.run_dag", str(config)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    work, output = place / "work", place / "segmentation"
    assert {p.stat().st_uid for p in (*work.rglob("*"), *output.rglob("*"))} == {OWNER}
    assert {r.image for r in records(work)} == {engine.image_digest("magneton-tasks")}
    assert not (work / "lease").exists(), "the volume is free for the next run"
    assert engine.find({"magneton.work": str(work)}) == []
    expect_same_as_local(config, place)


def test_the_dag_of_the_exact_method_finds_out_its_rounds_in_containers(place: Path) -> None:
    # Beside what a process takes anyway no row fits into a container: each block is a group.
    few = "docker: {workers: 2, memory: 300MiB, max_memory: 2GiB}\n"
    config = write_tiny_volume(place, DOCKER + few, method="exact")
    own(place)
    environ = {**os.environ, "MAGNETON_AIRFLOW_HOME": str(place / "airflow")}
    command = [sys.executable, "-m", "magneton_tasks.airflow.service.run_dag", str(config)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    work, output = place / "work", place / "segmentation"
    assert len(list(work.glob("rounds-*/*/plan-*.json"))) > 2
    assert {p.stat().st_uid for p in (*work.rglob("*"), *output.rglob("*"))} == {OWNER}
    assert not (work / "lease").exists(), "the volume is free for the next run"
    expect_same_as_local(config, place)


def test_the_exact_method_is_the_same_and_compiles_nothing(place: Path) -> None:
    """Rounds are planned and worked in containers too."""
    config = write_tiny_volume(place, DOCKER, method="exact")
    own(place)
    magneton("run", config)
    work = place / "work"
    expect_nothing_compiled(work)
    assert list(work.glob("rounds-*/0/records/*.jsonl"))
    expect_same_as_local(config, place)


def test_several_thresholds_are_the_same_as_of_the_local_runner(
    place: Path, engine: Engine, tmp_path: Path
) -> None:
    """Every output is mounted where it is written, though none exists before."""
    config = side_by_side.write(place, side_by_side.IN_3D + DOCKER)
    own(place)
    magneton("run", config, "--thresholds", side_by_side.TEXTS)
    side_by_side.assert_as_alone(config, tmp_path)
    assert engine.find({"magneton.work": str(place / "work")}) == []


INSIDE = """
import json, os, socket
def fails(work):
    try: work()
    except OSError as error: return type(error).__name__
config, inside = json.loads(os.environ["ASKED"]), {}
inside["ids"] = [os.getuid(), os.getgid()]
inside["root"] = fails(lambda: open("/etc/written", "w"))
inside["input"] = fails(lambda: open(config["input"] + "/written", "w"))
inside["work"] = fails(lambda: open(config["work"] + "/written", "w"))
inside["tmp"] = fails(lambda: open("/tmp/written", "w"))
inside["network"] = sorted(os.listdir("/sys/class/net"))
inside["connect"] = fails(lambda: socket.create_connection(("192.0.2.1", 9), 1))
inside["capabilities"] = [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")]
inside["memory"] = os.environ.get("MAGNETON_MEMORY_BYTES")
print(json.dumps(inside))
"""


def inside(workshop: Workshop, root: Path) -> dict[str, Any]:
    """What a process finds in a container of the worker's making."""
    task = stage_task(workshop.planned, root, "segment", 0)
    asked = specification(workshop.config, task, workshop.image, 2**29)
    paths = {"input": str(root.parents[3] / "affinity"), "work": workshop.config.paths.work}
    asked |= {"Entrypoint": ["python", "-c", INSIDE], "Cmd": []}
    asked["Env"].append(f"ASKED={json.dumps(paths)}")
    container = workshop.engine.create(task.name, asked)
    try:
        lines = list(workshop.engine.run(container))
        assert workshop.engine.end(container).exit_code == 0, lines
    finally:
        workshop.engine.remove(container)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def test_seen_from_inside(place: Path) -> None:
    config = write_tiny_volume(place, DOCKER)
    run = plan_run(config)
    own(place)
    found = inside(Workshop.of_attempt(run.attempt.paths.root), run.attempt.paths.root)
    assert found == {
        "ids": [OWNER, OWNER],
        "root": "OSError",
        "input": "OSError",
        "work": None,
        "tmp": None,
        "network": ["lo"],
        "connect": "OSError",
        "capabilities": ["0" * 16],
        "memory": str(2**29),
    }


def test_an_image_that_isn_t_there(place: Path) -> None:
    config = write_tiny_volume(place, DOCKER + "docker: {image: magneton-taks}\n")
    own(place)
    told = magneton("run", config, code=78)
    assert "docker.image" in told and "magneton-taks" in told and "make image" in told
    assert list(place.glob("work/runs/*")) == []


def test_an_engine_that_is_down(place: Path) -> None:
    config = write_tiny_volume(place, DOCKER + f"docker: {{engine: 'unix://{place}/none.sock'}}\n")
    own(place)
    began = time.monotonic()
    told = magneton("run", config, code=75)
    assert f"{place}/none.sock" in told and "what to do: start it" in told
    assert time.monotonic() - began < 60


def test_an_attempt_of_another_user_is_refused_at_once(place: Path) -> None:
    run = plan_run(write_tiny_volume(place, DOCKER))
    own(place)
    root = run.attempt.paths.root
    os.chown(root, 0, 0)
    workshop = Workshop.of_attempt(root)
    with pytest.raises(ConfigError, match=f"containers run as user {OWNER}"):
        workshop.run(stage_task(run.plan, root, "segment", 0), print)


def test_a_path_that_the_engine_refuses(place: Path) -> None:
    config = write_tiny_volume(place, DOCKER)
    run = plan_run(config)
    own(place)
    (place / "affinity").rename(place / "elsewhere")
    root = run.attempt.paths.root
    with pytest.raises(ConfigError, match="affinity"):
        Workshop.of_attempt(root).run(stage_task(run.plan, root, "segment", 0), print)


def test_clean_removes_the_containers_of_runs_that_are_over(place: Path, engine: Engine) -> None:
    config = write_tiny_volume(place, DOCKER)
    run = plan_run(config, run="over")
    own(place)
    workshop = Workshop.of_attempt(run.attempt.paths.root)
    task = stage_task(run.plan, run.attempt.paths.root, "segment", 0)
    asked = specification(workshop.config, task, workshop.image, None)
    engine.create(task.name, asked)
    kept = CliRunner().invoke(main.cli, ["clean", str(config), "--what", "containers", "--yes"])
    assert "no container" in kept.output, kept.output  # the run has its lease
    (place / "work" / "lease").unlink()
    for arguments, left in ((["--dry-run"], 1), (["--yes"], 0)):
        done = CliRunner().invoke(
            main.cli, ["clean", str(config), "--what", "containers", *arguments]
        )
        assert done.exit_code == 0 and task.name in done.output, done.output
        assert len(engine.find({"magneton.work": f"{place}/work"})) == left


def test_the_engine_s_errors_are_temporary() -> None:
    with pytest.raises(TemporaryError, match="doesn't answer"):
        Engine.connect("tcp://127.0.0.1:9")
