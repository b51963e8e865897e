"""Peak memory and CPU time of segmenting blocks, measured against ``magneton_tasks.projection``.

Each case runs in a child forked by a warm worker, as in the segment stage; its peak is ru_maxrss.
Prints a table with what is projected, and the ratio of expected to measured. Run it after an
upgrade of waterz or glibc and correct the constants of the projection by it::

    python benchmarks/memory.py [--large]

``--large`` adds blocks of 224^3 and 256^3 (up to 4 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cloudvolume  # noqa: F401  # a worker imports it; it counts
import numpy as np
import pyarrow  # noqa: F401
import zarr  # noqa: F401
from numpy.typing import NDArray
from scipy import ndimage, spatial

from magneton_tasks import projection
from magneton_tasks.kernels.segment import (
    Density,
    SegmentSettings,
    Supervoxels,
    graph_density,
    segment_block,
    warm_up,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MIB = 1 << 20
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


def in_child(work: Callable[[], object]) -> tuple[object, int]:
    """What ``work`` returns (as JSON), and the peak of the child it ran in, in bytes."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            answer = json.dumps(work()).encode()
            os.write(write, answer)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        answer = stream.read()
    usage = os.wait4(pid, 0)[2]
    return json.loads(answer), usage.ru_maxrss * 1024


def densities(volume: Path, supervoxels: Supervoxels) -> list[Density]:
    """Densities of two sample boxes, as plan would take them."""

    def work() -> list[list[float]]:
        affinity = np.load(volume, mmap_mode="r")
        settings = SegmentSettings(0.7, "mean", supervoxels)
        n = affinity.shape[1]
        size = min(SAMPLE, n)
        boxes = (slice(None, size), slice(n - size, None))
        return [list(graph_density(to_float(affinity[:, b, b, b]), settings)) for b in boxes]

    answer, _ = in_child(work)
    return [Density(*row) for row in answer]  # type: ignore[attr-defined]


def run(volume: Path, merge_function: str, supervoxels: Supervoxels) -> tuple[float, int]:
    """CPU seconds and peak bytes of one block."""

    def work() -> float:
        affinity = to_float(np.load(volume))
        begin = time.process_time()
        segment_block(affinity, SegmentSettings(0.7, merge_function, supervoxels))
        return time.process_time() - begin

    cpu, peak = in_child(work)
    return float(cpu), peak  # type: ignore[arg-type]


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


def row(case: Case, volume: Path, known: list[Density]) -> str:
    """Measure one case; a line of the table."""
    name, n, function, kind = case
    fragments, edges = (sum(d[i] for d in known) / len(known) for i in (0, 1))
    densest = (max(d[0] for d in known), max(d[1] for d in known))
    cpu, peak = run(volume, function, kind)
    voxels = n**3
    expected = projection.segment_expected_bytes(voxels, function, kind, fragments, edges)
    bound = projection.segment_bound_bytes(voxels, function, kind, densest)
    blind = projection.segment_bound_bytes(voxels, function, kind)
    cpu_s = projection.segment_cpu_s(voxels, function, kind, fragments, edges)
    return (
        f"{name:8}{n:4} {function:18}{kind:7}{fragments:7.4f}{edges:7.4f}"
        f"{peak / MIB:7.0f}{expected / MIB:7.0f}{expected / peak:6.2f}"
        f"{bound / MIB:7.0f}{blind / MIB:7.0f}"
        f"{cpu / voxels * 1e6:6.2f}{cpu_s / voxels * 1e6:7.2f}"
        + ("  OVER THE BOUND" if peak > min(bound, blind) else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also blocks up to 256^3")
    large = parser.parse_args().large
    for kind in KINDS:
        warm_up(kind)
    parent = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = in_child(warm_up)[1]
    print(f"worker {parent / 1024:.0f} MiB, forked child that works {child / MIB:.0f} MiB")
    print("MiB; ratio = expected / measured; blind = the bound without samples; us = CPU a voxel")
    print(
        f"{'volume':8}{'n':>4} {'merge function':18}{'voxels':7}{'frag':>7}{'edges':>7}"
        f"{'peak':>7}{'expect':>7}{'ratio':>6}{'bound':>7}{'blind':>7}{'us':>6}{'expect':>7}"
    )
    with tempfile.TemporaryDirectory() as directory:
        known: dict[tuple[str, int, str], list[Density]] = {}
        for case in cases(large):
            name, n, _, kind = case
            volume = Path(directory) / f"{name}{n}.npy"
            if not volume.exists():  # in a child: the worker stays slim
                in_child(partial(save, volume, name, n))
            if (name, n, kind) not in known:
                known[name, n, kind] = densities(volume, kind)
            print(row(case, volume, known[name, n, kind]), flush=True)


def save(volume: Path, name: str, n: int) -> None:
    np.save(volume, VOLUMES[name](n))


if __name__ == "__main__":
    main()
