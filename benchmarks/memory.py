"""Peak memory and CPU time, measured against what plan projects: on the sample, and on single blocks.

The sample runs through all stages with one worker. The single blocks are those from which the
constants of ``magneton_tasks.plan.cost_overlap`` come: each is segmented in a child forked by a warm
worker, as in the segment stage, and its peak is ru_maxrss. Run them after an upgrade of waterz or
glibc, and correct the constants. ``--full`` adds blocks of 224^3 and 256^3 (up to 4 GB).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cloudvolume  # noqa: F401  # a worker imports it; it counts
import numpy as np
import pyarrow  # noqa: F401
import zarr  # noqa: F401
from numpy.typing import NDArray
from scipy import ndimage, spatial

from benchmarks.measure import Row, forked, magneton, row
from magneton_tasks.base.methods import SegmentSettings, Supervoxels
from magneton_tasks.kernels.overlap.density import Density, graph_density
from magneton_tasks.kernels.overlap.segment import segment_block, warm_up
from magneton_tasks.plan import cost_overlap
from magneton_tasks.plan.plan import Plan

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
#: As `make run` makes it.
SAMPLE_SHAPE = (128, 384, 384)
#: Voxels along an edge of the sample boxes.
SAMPLE = 96
KINDS: tuple[Supervoxels, ...] = ("waterz", "3d", "2d")

UInt8 = NDArray[np.uint8]
Case = tuple[str, int, str, Supervoxels]


def noise(n: int) -> UInt8:
    """Independent uniform noise: the densest region graph there is."""
    return np.random.default_rng(0).integers(0, 256, (3, n, n, n), dtype=np.uint8)


def cells(n: int) -> UInt8:
    """Voronoi cells of 24 voxels with blurred membranes and correlated noise."""
    rng = np.random.default_rng(0)
    points = rng.random((max(2, (n // 24) ** 3), 3)) * n
    grid = np.indices((n, n, n), dtype=np.float32).reshape(3, -1).T
    ids = spatial.cKDTree(points).query(grid)[1].astype(np.int32).reshape(n, n, n)
    affinity = np.empty((3, n, n, n), np.uint8)
    for d in range(3):
        same = (ids == np.roll(ids, 1, axis=d)).astype(np.float32)
        value = ndimage.gaussian_filter(same, 1.0)
        grain = rng.standard_normal(same.shape, dtype=np.float32)
        value += 0.25 * ndimage.gaussian_filter(grain, 0.7)
        affinity[d] = np.clip(value, 0, 1) * 255
    return affinity


def shared(name: str, n: int) -> UInt8:
    """A real volume, continued by reflection to n^3."""
    affinity = np.load(DATA / f"{name}.npz")["affs"]
    grow = [(0, 0)] + [(0, max(0, n - s)) for s in affinity.shape[1:]]
    return np.ascontiguousarray(np.pad(affinity, grow, mode="reflect")[:, :n, :n, :n])


VOLUMES: dict[str, Callable[[int], UInt8]] = {
    "noise": noise,
    "cells": cells,
    "pub128": lambda n: shared("pub128", n),
    "gala": lambda n: shared("real_gala_train", n),
}


def to_float(affinity: UInt8) -> NDArray[np.float32]:
    return np.divide(affinity, np.float32(255), dtype=np.float32)


def densities(volume: Path, supervoxels: Supervoxels) -> list[Density]:
    """Densities of two sample boxes, as plan would take them."""

    def work() -> list[list[float]]:
        affinity = np.load(volume, mmap_mode="r")
        settings = SegmentSettings(0.7, "mean", supervoxels)
        n = affinity.shape[1]
        size = min(SAMPLE, n)
        boxes = (slice(None, size), slice(n - size, None))
        return [list(graph_density(to_float(affinity[:, b, b, b]), settings)) for b in boxes]

    answer, _ = forked(work)
    return [Density(*values) for values in answer]


def segmented(volume: Path, merge_function: str, supervoxels: Supervoxels) -> tuple[float, int]:
    """CPU seconds and peak bytes of one block."""

    def work() -> float:
        affinity = to_float(np.load(volume))
        begin = time.process_time()
        segment_block(affinity, SegmentSettings(0.7, merge_function, supervoxels))
        return time.process_time() - begin

    cpu, used = forked(work)
    return float(cpu), used.peak_bytes


def cases(large: bool) -> list[Case]:
    functions = ("mean", "mean_que256", "aff50_his256", "aff50_his256_que0")
    names = ["cells", *(["pub128", "gala"] if DATA.is_dir() else [])]
    found: list[Case] = [("noise", 96, f, "waterz") for f in ("mean", "aff50_his256")]
    found += [(v, 128, f, "waterz") for v in names for f in functions]
    for kind in KINDS[1:]:
        found += [(v, 128, "aff50_his256", kind) for v in ("noise", *names)]
    if large:
        found += [(v, 224, "aff50_his256", "waterz") for v in names]
        found += [(v, 256, "mean", kind) for v in names for kind in ("waterz", "3d")]
    return found


def block_rows(case: Case, volume: Path, known: list[Density]) -> list[Row]:
    """Measure one block against its projection."""
    name, n, function, kind = case
    fragments, edges = (sum(d[i] for d in known) / len(known) for i in (0, 1))
    densest = (max(d[0] for d in known), max(d[1] for d in known))
    cpu, peak = segmented(volume, function, kind)
    voxels = n**3
    expected = cost_overlap.segment_expected_bytes(voxels, function, kind, fragments, edges)
    bound = cost_overlap.segment_bound_bytes(voxels, function, kind, densest)
    blind = cost_overlap.segment_bound_bytes(voxels, function, kind)
    cpu_s = cost_overlap.segment_cpu_s(voxels, function, kind, fragments, edges)
    title = f"{name} {n}^3, {function}, supervoxels {kind}"
    return [
        row(f"{title}: peak / bound", peak / min(bound, blind), "x", most=1.0),
        row(
            "  expected peak / peak",
            expected / peak,
            "x",
            peak_bytes=peak,
            fragments_per_voxel=fragments,
            edges_per_voxel=edges,
            cpu_us_per_voxel=cpu / voxels * 1e6,
            expected_cpu_us_per_voxel=cpu_s / voxels * 1e6,
        ),
    ]


def sample_rows() -> list[Row]:
    """The sample of `make run`, with its own config and with the default block size."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        magneton("sample", directory, "--shape", *SAMPLE_SHAPE)
        config = Path(directory) / "volume.yaml"
        for title, sets in (
            ("as it comes", []),
            ("blocks of 256^3", ["--set", "block.size=[256,256,256]"]),
        ):
            magneton("run", config, "--workers", 1, "--set", "local.workers=1", *sets)
            attempt = max(
                Path(directory).glob("work/runs/*/*/plan.json"), key=os.path.getmtime
            ).parent
            plan = Plan.from_json((attempt / "plan.json").read_text())
            rows += _stage_rows(f"sample {title}", attempt, plan)
    return rows


def _stage_rows(title: str, attempt: Path, plan: Plan) -> list[Row]:
    peaks: dict[str, int] = {}
    for path in (attempt / "results").iterdir():
        result = json.loads(path.read_text())
        if "peak_bytes" in result:
            stage = result["stage"]
            peaks[stage] = max(peaks.get(stage, 0), result["peak_bytes"])
    rows = []
    for stage, peak in peaks.items():
        memory = plan.memory[stage]
        limits: dict[str, Any] = {"least": 0.8, "most": 1.3} if stage == "segment" else {}
        rows += [
            row(
                f"{title}, {stage}: expected peak / peak",
                memory.expected / peak,
                "x",
                **limits,
                peak_bytes=peak,
            ),
            row("  peak / bound", peak / memory.bound, "x", most=1.0),
        ]
    return rows


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    rows = sample_rows()
    for kind in KINDS:
        warm_up(kind)
    with tempfile.TemporaryDirectory() as directory:
        known: dict[tuple[str, int, str], list[Density]] = {}
        for case in cases(full):
            name, n, _, kind = case
            volume = Path(directory) / f"{name}{n}.npy"
            if not volume.exists():  # in a child: the worker stays slim
                forked(partial(save, volume, name, n))
            if (name, n, kind) not in known:
                known[name, n, kind] = densities(volume, kind)
            rows += block_rows(case, volume, known[name, n, kind])
    return rows


def save(volume: Path, name: str, n: int) -> None:
    np.save(volume, VOLUMES[name](n))
