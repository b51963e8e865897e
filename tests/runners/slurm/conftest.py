"""A fake cluster on PATH, and an attempt that was planned for it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base.files import host_name
from magneton_tasks.base.grid import items
from magneton_tasks.stages.planning import draft as planning
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.record import Record
from tests.helpers.tiny_volume import write_tiny_volume
from tests.runners.slurm.fake_cluster import Cluster, Planned, Volume

FAKE = Path(__file__).with_name("fake_slurm.py")
PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
#: Quick looks, and no patience: nothing here takes long.
FAST = "poll_s: 1, max_poll_s: 1, grace_s: 1, memory: 1GiB, max_memory: 3GiB"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    home = tmp_path / "cluster"
    (home / "bin").mkdir(parents=True)
    # this interpreter, and without site-packages: some twenty calls a test
    text = FAKE.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable} -SI", 1)
    for name in PROGRAMS:
        path = home / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Cluster(home)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Stands for the interpreter of the compute nodes: whatever it's asked, it runs ``worker.py``."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -SI {FAKE.with_name("worker.py")} "$@"\n')
    path.chmod(0o755)
    return path


def _like(record: Record) -> dict[str, Any]:
    """What a worker of this machine writes for such a record."""
    values: dict[str, Any] = json.loads(replace(record, host=host_name()).to_line())
    return values


@pytest.fixture
def volume(tmp_path: Path, cluster: Cluster, python: Path) -> Volume:
    """Makes the tiny volume and its config for the cluster; ``more``: further keys of ``slurm``."""

    def write(more: str = "") -> Path:
        extra = f", {more}" if more else ""
        runner = "runner: {offered: [slurm], default: slurm}\n"
        settings = f"slurm: {{{FAST}, python: {python}{extra}}}\n"
        config = write_tiny_volume(tmp_path / "volume", runner + settings)
        drafted = planning.draft(PlanRequest(config, "test", {}), write=False)
        stages = {
            stage: {
                "records": str(drafted.work.records(stage, drafted.plan.fingerprints.of(stage))),
                "keys": [list(items(work.todo, *work.batch(n))) for n in range(work.batches)],
                "result": f"{stage}-{{:04d}}-{{:04d}}",
                "done": _like(Record(0, "done", 0.0, input="i", output="o")),
                "failed": _like(Record(0, "failed", 0.0)),
            }
            for stage, work in drafted.plan.work.items()
        }
        (cluster.home / "stages.json").write_text(json.dumps(stages))
        return config

    return write


@pytest.fixture
def planned(volume: Volume) -> Planned:
    """Plans an attempt of the tiny volume."""

    def plan(more: str = "") -> AttemptPaths:
        _, paths, _ = planning.run(PlanRequest(volume(more), "test", {}))
        return paths

    return plan
