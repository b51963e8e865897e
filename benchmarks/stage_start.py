"""What a process of each stage costs before its work: CPU time of whole processes, least of five.

A volume of two tiny blocks is run to its end, by each method. Then each stage is called again on
that attempt: as it is (nothing is to do), and without the stage's records, so that two blocks of
16^3 are worked on, whose own work is next to nothing: the compiled code is loaded then.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from benchmarks.measure import Row, magneton, row
from benchmarks.volumes import write_config
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.plan.stage_table import stages_of
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt

RUNS = 5
#: CPU seconds.
MOST = {
    "plan": 0.5, "segment": 1.0, "count": 0.8, "faces": 0.8, "round0": 0.8, "cut": 0.8, "apply": 0.8, "verify": 0.5,
}  # fmt: skip
#: A stage that isn't mapped works whatever its records say.
SINGLE = ("pool", "verify")
METHODS: tuple[Literal["exact", "overlap"], ...] = ("exact", "overlap")


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows = []
    for method in METHODS:
        with TemporaryDirectory() as directory:
            rows += _rows(Path(directory), method)
    return rows


def _rows(directory: Path, method: Literal["exact", "overlap"]) -> list[Row]:
    affinity = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 32), np.uint8)
    write_volume(f"file://{directory}/affinity", affinity, (40, 8, 8), chunk_size=(16, 16, 16))
    overlap = {"overlap": [4, 4, 4]} if method == "overlap" else {}
    config = write_config(
        directory,
        {
            "method": method,
            "block": {"size": [16, 16, 18], **overlap},
            "segment": {"threshold": 0.6},
            "apply": {"chunk_size": [16, 16, 16], "mips": 1},
            "local": {"workers": 1},
        },
    )
    magneton("run", config)
    (root,) = (directory / "work" / "runs").glob("*/1")
    attempt = Attempt.open(root)
    rows = []
    for stage in stages_of(method):
        command: tuple[object, ...] = (stage, "--run", root)
        most = MOST.get(stage)
        if stage not in SINGLE:
            work = group_work.work_of(attempt.paths, attempt.plan, stage)
            if work is None or not work.batches:
                continue  # a round that wasn't needed, or mips that fit into cells
            command += ("--batch", 0)  # without it, groups are found out, not worked
            worked = _least(lambda s=stage: _anew(attempt, s), *command)  # type: ignore[misc]
            rows.append(row(f"{stage} ({method}) of tiny blocks", worked, "CPU s", most=most))
        done = _least(lambda: None, *command)
        rows.append(row(f"{stage} ({method}) of a finished attempt", done, "CPU s", most=most))
    planned = _least(lambda: _give_back(directory), "plan", config, "--run-id", "bench")
    return [
        *rows,
        row(f"plan ({method}) that samples nothing", planned, "CPU s", most=MOST["plan"]),
    ]


def _least(prepare: Callable[[], None], *arguments: object) -> float:
    """CPU seconds of the cheapest of `RUNS` calls of a command."""
    found = []
    for _ in range(RUNS):
        prepare()
        found.append(magneton(*arguments).cpu_s)
    return min(found)


def _anew(attempt: Attempt, stage: str) -> None:
    """Forget that a stage has worked."""
    shutil.rmtree(attempt.manifest(stage).directory)


def _give_back(directory: Path) -> None:
    """Remove the leases that the plan before has left to its run."""
    for guarded in ("work", "segmentation"):
        (directory / guarded / "lease").unlink(missing_ok=True)
