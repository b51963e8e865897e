"""An attempt of very many blocks, whose records look as if they had been worked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest
from magneton_tasks.work.record import Record
from tests.helpers import volumes

#: Read box and overlap of its blocks: the cores are cubes of `CORE` voxels.
SIZE, OVERLAP = 16, 4
CORE = SIZE - OVERLAP


def plan_many(folder: Path, grid: Vec3, run: str = "test") -> volumes.Run:
    """Plan an attempt of ``grid`` blocks over an affinity map that has no chunks."""
    folder.mkdir(parents=True, exist_ok=True)
    zarr.create_array(
        folder / "affinity",
        shape=(3, *(n * CORE for n in grid)),
        chunks=(3, 64, 64, 64),
        dtype="uint8",
        dimension_names=list("czyx"),
    )
    settings = {
        "block.size": [SIZE] * 3,
        "block.overlap": [OVERLAP] * 3,
        "apply.mips": 0,
        "input": {"doubtful": "warn"},  # there is nothing in it
        "apply.chunk_size": [CORE] * 3,
        "paths": {
            "visibility_wait_s": 0,
            "max_files": 10_000_000,
            "input": f"file://{folder}/affinity",
            "output": f"file://{folder}/segmentation",
            "work": f"{folder}/work",
        },
    }
    made = volumes.plan_run(volumes.write_config(folder, settings), run=run)
    assert made.plan.geometry.grid.shape == grid
    return made


def write_records(
    attempt: Attempt, stage: str, n: int, make: Callable[[int], dict[str, Any]]
) -> None:
    """One record for each of ``n`` keys; ``make`` gives what differs from a usual *done*."""
    directory = attempt.work.records(stage, attempt.plan.fingerprints.of(stage))
    directory.mkdir(parents=True, exist_ok=True)
    usual = {
        "run": attempt.name,
        "attempt": attempt.plan.attempt,
        "batch": 0,
        "host": "node1",
        "pid": 1,
        "input": input_digest(attempt, 0),
        "output": "0123456789abcdef",
    }
    with open(directory / f"test-{stage}-0-0-node1-1-00000000.jsonl", "w") as file:
        for key in range(n):
            values = {
                "state": "done",
                "time": attempt.plan.created + 1 + key / 100,
                "seconds": 5 + key * 7919 % 9973 / 1000,
                "cpu_s": 4 + key * 104729 % 9941 / 1000,
                "peak_bytes": 200_000_000 + key * 15485863 % 700_000_001,
                "info": {"n": key * 31 % 5000},
                **usual,
                **make(key),
            }
            file.write(Record(key=key, **values).to_line() + "\n")
