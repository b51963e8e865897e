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


def _write(folder: Path, python: Path, more: str) -> Path:
    extra = f", {more}" if more else ""
    runner = "runner: {offered: [slurm], default: slurm}\n"
    return write_tiny_volume(folder, runner + f"slurm: {{{FAST}, python: {python}{extra}}}\n")


def _tell_workers(cluster: Cluster, drafted: planning.Draft) -> None:
    """What the stand-ins of workers know of the plan."""
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


@pytest.fixture
def volume(tmp_path: Path, cluster: Cluster, python: Path) -> Volume:
    """Makes the tiny volume and its config for the cluster; ``more``: further keys of ``slurm``."""

    def write(more: str = "") -> Path:
        config = _write(tmp_path / "volume", python, more)
        _tell_workers(cluster, planning.draft(PlanRequest(config, "test", {}), write=False))
        return config

    return write


@pytest.fixture
def planned(tmp_path: Path, cluster: Cluster, python: Path) -> Planned:
    """Plans an attempt of the tiny volume."""

    def plan(more: str = "") -> AttemptPaths:
        config = _write(tmp_path / "volume", python, more)
        _, paths, drafted = planning.run(PlanRequest(config, "test", {}))
        _tell_workers(cluster, drafted)
        return paths

    return plan
