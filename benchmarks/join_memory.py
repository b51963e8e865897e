"""Memory of every join against what plan projected for it, on unlike volumes of 2 x 2 x 2 blocks or more.

Segment, count and the joins run as workers do, one process after the other, with default settings;
peaks are those of the records: of the child that joined a group, with all that a process has from
the start. Of the real volumes each is mirrored: where blocks are cut at the mirror planes, all faces
are unlike the rest of the volume. Without ``--full`` the smaller half of the cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Row, forked, magneton, row
from benchmarks.volumes import VOXEL_SIZE_NM, mirrored, real, write_config
from magneton_tasks.base.geometry import Vec3
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import JOINS

UInt8 = NDArray[np.uint8]

#: The demands: peak / bound at most, and peak / expected from, to.
MOST_OF_BOUND, EXPECTED = 1.0, (0.6, 1.3)


class Case(NamedTuple):
    """A volume, its shape, the threshold, and edges of blocks: always, and with ``--full``."""

    name: str
    make: Callable[[Vec3], UInt8 | None]
    edge: int
    threshold: float
    blocks: tuple[int, ...]
    more_blocks: tuple[int, ...]


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    cases = (
        Case("noise", noise, 256, 0.5, (64, 128), ()),
        Case("gala mirrored", lambda s: of_shared("real_gala_train", s), 400, 0.3, (200,), (64, 128)),
        Case("pub128 mirrored", lambda s: of_shared("pub128", s), 512, 0.3, (128,), (64, 256)),
        Case("sample", sample, 512, 0.5, (), (64, 128, 256)),
    )  # fmt: skip
    rows: list[Row] = []
    for case in cases:
        blocks = case.blocks + (case.more_blocks if full else ())
        if blocks:
            rows += _case_rows(case, blocks)
    return rows


def noise(shape: Vec3) -> UInt8:
    return np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)


def of_shared(name: str, shape: Vec3) -> UInt8 | None:
    """A real volume, mirrored; None where it isn't there."""
    found = real(name)
    return None if found is None else mirrored(found["affs"], shape)


def sample(shape: Vec3) -> UInt8:
    from magneton_tasks.sample.volume import make_sample

    affinity: UInt8 = make_sample(shape, 0).affinity
    return affinity


def _case_rows(case: Case, blocks: tuple[int, ...]) -> list[Row]:
    with TemporaryDirectory() as directory:
        if not forked(lambda: _write(Path(directory), case))[0]:
            return [row(f"{case.name}: no shared data here, left out", "-", "")]
        return [r for edge in blocks for r in _rows(Path(directory), case, edge)]


def _write(directory: Path, case: Case) -> bool:
    """In a child: its memory isn't that of what is measured."""
    from magneton_tasks.formats.precomputed.write import write_volume

    affinity = case.make((case.edge,) * 3)
    if affinity is not None:
        write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)
    return affinity is not None


def _rows(directory: Path, case: Case, edge: int) -> list[Row]:
    """One row a level: its largest join."""
    paths = {"work": f"{directory}/work{edge}", "output": f"{directory}/out{edge}"}
    config = write_config(
        directory,
        {
            "method": "exact",
            "block": {"size": [edge] * 3},
            "segment": {"threshold": case.threshold},
            "local": {"workers": 1},
            "paths": paths,
        },
    )
    printed = magneton("plan", config, "--run-id", "bench").stdout
    attempt = Path(json.loads(printed.splitlines()[-1])["attempt"])
    plan = Plan.from_json((attempt / "plan.json").read_text())
    for stage in ("segment", "count", *JOINS):
        for batch in range(plan.work[stage].batches if stage in plan.work else 0):
            magneton(stage, "--run", attempt, "--batch", batch)
    rows = []
    for stage in [s for s in JOINS if s in plan.work]:
        peak = max(r["peak_bytes"] for r in _done(Path(paths["work"]), stage))
        memory = plan.memory[stage]
        title = f"{case.name} {case.edge}^3 in {len(plan.geometry.grid)} blocks of {edge}, {stage}"
        least, most = EXPECTED
        rows += [
            row(
                f"{title}: peak / expected",
                peak / memory.expected,
                "x",
                least=least,
                most=most,
                peak_bytes=peak,
            ),
            row("  peak / bound", peak / memory.bound, "x", most=MOST_OF_BOUND),
        ]
    return rows


def _done(work: Path, stage: str) -> list[dict[str, Any]]:
    found = []
    for path in work.glob(f"join-*/level-{stage.removeprefix('join')}/records/*.jsonl"):
        with open(path) as file:
            found += [r for line in file if (r := json.loads(line))["state"] == "done"]
    return found
