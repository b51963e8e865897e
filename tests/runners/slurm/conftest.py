"""A fake cluster on PATH, and an attempt that was planned for it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from magneton_tasks.grid import items
from magneton_tasks.paths import AttemptPaths
from magneton_tasks.stages import plan as planning
from tests.runners.slurm.fake_cluster import Cluster, Planned
from tests.tiny_volume import write_tiny_volume

FAKE = Path(__file__).with_name("fake_slurm.py")
PROGRAMS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
#: Quick looks, and no patience: nothing here takes long.
FAST = "poll_s: 1, max_poll_s: 1, grace_s: 1, memory: 1GiB, max_memory: 3GiB"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    home = tmp_path / "cluster"
    (home / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        (home / "bin" / name).symlink_to(FAKE)
    monkeypatch.setenv("FAKE_SLURM", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Cluster(home)


@pytest.fixture
def planned(tmp_path: Path, cluster: Cluster) -> Planned:
    """Plans an attempt of the tiny volume for the cluster; ``more``: further keys of ``slurm``."""

    def plan(more: str = "") -> AttemptPaths:
        extra = f", {more}" if more else ""
        runner = "runner: {offered: [slurm], default: slurm}\n"
        config = write_tiny_volume(tmp_path / "volume", f"{runner}slurm: {{{FAST}{extra}}}\n")
        made, paths, drafted = planning.run(planning.Request(config, "test", {}))
        stages = {
            stage: {
                "records": str(drafted.work.records(stage, made.fingerprints.of(stage))),
                "keys": [list(items(work.todo, *work.batch(n))) for n in range(work.batches)],
            }
            for stage, work in made.work.items()
        }
        (cluster.home / "stages.json").write_text(json.dumps(stages))
        return paths

    return plan
