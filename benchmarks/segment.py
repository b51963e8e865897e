"""``magneton segment`` of one batch of 8 blocks of 256^3 against bare waterz on the same blocks.

Bare waterz gets the affinities of each read box as float32, in memory, in a child forked for the
block as the stage does it. Both run at the same time, each on a core, so that both meet the same
machine: alone, waterz's own time varies by 20 % between two runs where others work too. The stage reads chunks, checks, labels, writes and records; what a process of
it costs before its first block is measured with a block of 32^3 and reported apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import waterz_alone
from benchmarks.measure import MAGNETON, Row, Usage, forked, magneton, row, started
from benchmarks.volumes import VOXEL_SIZE_NM, reflected, source, write_config
from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.formats.precomputed.write import write_volume
from magneton_tasks.plan.plan import Plan

#: Two blocks an axis have a halo on one side only: 240 + 16 voxels are read of the largest 272.
LARGEST, READ, OVERLAP = 272, 256, 32
LOW, HIGH, THRESHOLD = 0.05, 0.99, 0.7
MOST = 1.10


def run(*, full: bool = False) -> list[Row]:
    """Measure mean affinity; ``full`` also the default, the median by histograms."""
    rows = []
    with TemporaryDirectory() as directory:
        root = Path(directory)
        for name, edge in (("small", 32), ("large", 2 * (READ - OVERLAP // 2))):
            (root / name).mkdir()
            forked(lambda n=name, e=edge: _write(root / n, e))  # type: ignore[misc]
        for function in ("mean", "aff50_his256") if full else ("mean",):
            rows += _measure(root, function)
    return rows


def _write(directory: Path, edge: int) -> None:
    affinity = reflected(source(), vec3([edge] * 3))
    write_volume(f"file://{directory}/affinity", affinity, VOXEL_SIZE_NM)
    np.save(directory / "affinity.npy", affinity)


def _measure(root: Path, function: str) -> list[Row]:
    start = magneton("segment", "--run", _plan(root / "small", function)[0])
    directory = root / "large"
    attempt, plan = _plan(directory, function)
    grid = plan.geometry.grid
    boxes = [grid.read(key) for key in range(len(grid))]
    assert [b.shape for b in boxes] == [(READ,) * 3] * 8, boxes
    assert plan.work["segment"].batches == 1, plan.work["segment"]
    finish = started(*MAGNETON, "segment", "--run", attempt)
    bare = bare_waterz(directory, boxes, function)
    used = finish()
    bare_s, read = sum(u.cpu_s for u in bare), sum(b.voxels for b in boxes)
    output = grid.box.voxels
    stage_s = used.cpu_s - start.cpu_s
    peak = max(r["peak_bytes"] for r in _records(directory, plan) if r["state"] == "done")
    memory = plan.memory["segment"]
    return [
        row(
            f"segment / bare waterz, {len(boxes)} blocks of {READ}^3, {function}",
            stage_s / bare_s,
            "x",
            most=MOST,
        ),
        row("  with the start-up of its process", used.cpu_s / bare_s, "x"),
        row("  start-up", start.cpu_s, "CPU s"),
        row("  segment, a voxel that is read", stage_s / read * 1e6, "CPU us/voxel"),
        row("  segment, a voxel of the output", stage_s / output * 1e6, "CPU us/voxel"),
        row("  bare waterz, a voxel that is read", bare_s / read * 1e6, "CPU us/voxel"),
        row("  its peak / plan's bound", peak / memory.bound, "x", most=1.0, peak_bytes=peak),
        row("  plan's expected peak / its peak", memory.expected / peak, "x", least=0.8, most=1.3),
        row("  its peak / that of bare waterz", peak / max(u.peak_bytes for u in bare), "x"),
    ]


def _plan(directory: Path, function: str) -> tuple[Path, Plan]:
    config = write_config(
        directory,
        {
            "block": {"size": [LARGEST] * 3, "overlap": [OVERLAP] * 3},
            "segment": {
                "merge_function": function,
                "threshold": THRESHOLD,
                "aff_thresholds": [LOW, HIGH],
            },
            "local": {"workers": 1},
        },
    )
    printed = magneton("plan", config, "--run-id", "bench", "--stages", "segment").stdout
    attempt = Path(json.loads(printed.splitlines()[-1])["attempt"])
    return attempt, Plan.from_json((attempt / "plan.json").read_text())


def _records(directory: Path, plan: Plan) -> list[dict[str, Any]]:
    folder = directory / "work" / f"segment-{plan.fingerprints.segment}" / "records"
    return [json.loads(line) for path in folder.iterdir() for line in path.open()]


def bare_waterz(directory: Path, boxes: Sequence[Box], function: str) -> list[Usage]:
    """What waterz takes for each read box; loading it isn't counted."""
    stored = np.load(directory / "affinity.npy", mmap_mode="r")
    found = []
    for box in boxes:
        affinity = np.divide(
            stored[(slice(None), *box.slices())], np.float32(255), dtype=np.float32
        )

        def work(affinity: Any = affinity) -> None:
            waterz_alone.segmented(affinity, THRESHOLD, (LOW, HIGH), function)

        found.append(forked(work)[1])
    return found
