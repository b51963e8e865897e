"""The docker runner against the local one on the same batches, and the image; needs an engine.

CPU time is that of all that takes part: the local workers, or the containers (by the engine's control
group), the engine and its containerd, and the runner itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from benchmarks.measure import Row, row
from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.precomputed import write as precomputed
from magneton_tasks.runners import local
from magneton_tasks.runners.docker import run as docker_run
from magneton_tasks.runners.docker.engine import Engine
from magneton_tasks.runners.docker.task import Workshop
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning.request import PlanRequest

#: Blocks, half of them a batch: a minute of work, as a batch should be.
BLOCKS = 12
BLOCK = 128
#: Runs of each runner, in turns; the cheapest counts, for all else only adds to it.
ROUNDS = 2
_CGROUPS = ("/sys/fs/cgroup/cpuacct/docker/cpuacct.usage", "/sys/fs/cgroup/docker/cpu.stat")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a batch."""

    wall_s: float
    cpu_s: float


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    try:
        engine = Engine.connect()
        image = engine.client.inspect_image("magneton-tasks")
    except (MagnetonError, OSError) as error:
        return [row("docker: left out", str(error).splitlines()[0], "")]
    size = float(image["Size"]) / 1e6
    rows = [row("image magneton-tasks", size, "MB", most=900)]
    if full:
        rows.append(row("image built anew, base image there", _build_s(), "s"))
    costs: dict[str, list[Cost]] = {"local": [], "docker": []}
    with TemporaryDirectory() as directory:
        for k in range(ROUNDS):
            for runner, found in costs.items():
                found.append(_segment(Path(directory), runner, k))
    here, there = (_cheapest(found) for found in costs.values())
    overhead = there.wall_s - here.wall_s
    rows.append(row("docker against local, wall", overhead, "s a batch", most=2))
    share = 100 * (there.cpu_s / here.cpu_s - 1)
    rows.append(
        row(
            "docker against local, CPU",
            share,
            "%",
            most=3,
            local_cpu_s=round(here.cpu_s, 2),
            docker_cpu_s=round(there.cpu_s, 2),
        )
    )
    return rows


def _build_s() -> float:
    """Seconds of a build that takes nothing from the engine's cache; its image gets another name."""
    began = time.monotonic()
    environ = {**os.environ, "IMAGE": "magneton-tasks-bench", "NO_CACHE": "1"}
    subprocess.run(["scripts/image.sh"], env=environ, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _cheapest(costs: list[Cost]) -> Cost:
    return Cost(min(c.wall_s for c in costs), min(c.cpu_s for c in costs))


def _segment(folder: Path, runner: str, k: int) -> Cost:
    """Stage segment of noise for the k-th time, one batch after the other; both plan the same blocks."""
    name = f"{runner}-{k}"
    config = folder / f"{name}.yaml"
    source = folder / "affinity"
    if not source.exists():
        shape = (3, BLOCK, BLOCK, BLOCK * BLOCKS)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        precomputed.write_volume(f"file://{source}", noise, (8, 8, 8), chunk_size=(64, 64, 64))
    config.write_text(
        json.dumps(
            {
                "paths": {
                    "input": f"file://{source}",
                    "output": f"file://{folder}/{name}-out",
                    "work": f"{folder}/{name}-work",
                },
                "block": {"size": [BLOCK, BLOCK, BLOCK + 16], "overlap": [16, 16, 16]},
                "segment": {"merge_function": "mean"},
                "runner": {"offered": [runner], "default": runner},
            }
        )
    )
    plan, paths, _ = planning.run(PlanRequest(config, "bench", {}))
    batches = plan.work["segment"].batches
    if runner == "local":
        work: Callable[[], Any] = lambda: local.run_stage(  # noqa: E731
            paths.root, "segment", batches, 1, _quiet
        )
    else:
        shop = Workshop.of_attempt(paths.root)
        work = lambda: docker_run.run_stage(shop, paths.root, "segment", batches, 1, _quiet)  # noqa: E731
    began, cpu_began = time.monotonic(), _cpu_s()
    codes = work()
    if any(codes.values()):
        raise RuntimeError(f"{runner}: {codes}")
    return Cost((time.monotonic() - began) / batches, (_cpu_s() - cpu_began) / batches)


def _quiet(_: object) -> None:
    pass


def _cpu_s() -> float:
    """CPU seconds so far: of this process and its children, the engine, and all containers."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in psutil.process_iter():
        try:
            if process.name() in ("dockerd", "containerd"):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return total + _containers_cpu_s()


def _containers_cpu_s() -> float:
    for path in map(Path, _CGROUPS):
        if path.is_file():
            text = path.read_text()
            if path.name == "cpuacct.usage":
                return int(text) / 1e9
            return int(text.split()[1]) / 1e6  # usage_usec comes first
    return 0.0
