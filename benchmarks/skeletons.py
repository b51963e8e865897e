"""Skeletons over cells against those of one block: pub128's labels, whole and at mip 2 of 512^3.

Left out where the shared data isn't there. Lengths are in nm; a voxel of pub128 counts as 16 nm, and
512^3 is pub128 continued by reflection. ``--full``: the stages on a segmentation of 512^3, too.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from benchmarks.exact import config_of, planned, tiled, write
from benchmarks.in_process import done, stages_in_one_process
from benchmarks.measure import Row, forked, magneton, row
from benchmarks.volumes import real, reflected
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.kernels.downsample import mode_pool
from magneton_tasks.kernels.measure import boxes_and_sums
from magneton_tasks.kernels.skeleton.cells import fragments
from magneton_tasks.kernels.skeleton.fragment import Fragment, merged
from magneton_tasks.kernels.skeleton.join import Skeleton, joined
from magneton_tasks.kernels.skeleton.rules import Rules

Numbers = NDArray[np.uint32]
Cuts = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
VOXEL_NM = 16.0
SCALE, CONST_NM, TICK_NM = 1.5, 300.0, 500.0
MOST_CPU = 0.06
#: full-resolution voxels of one at mip 2
OF_MIP_2 = 64
#: further from the other skeleton than this, and than its own radius, cable counts as elsewhere
FAR_VOX = 3


@dataclass(frozen=True, slots=True)
class Made:
    """Skeletons, what they were joined of, and CPU seconds of both steps."""

    skeletons: dict[int, Skeleton]
    pieces: dict[int, list[Fragment]]
    cell_s: float
    join_s: float

    @property
    def cable_nm(self) -> float:
        return sum(one.cable_nm for one in self.skeletons.values())


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    found = real("pub128")
    if found is None:
        return [row("pub128: no shared data here, left out", "-", "")]
    labels = found["labels"].astype(np.uint32)
    coarse = labels
    coarse = reflected(labels[None], (512,) * 3)[0]
    for _ in range(2):
        coarse = mode_pool(coarse, (2, 2, 2))
    return [
        *_compared("pub128, 128^3", _dense(labels), VOXEL_NM, 64),
        *_compared("512^3 at mip 2", _dense(coarse), 4 * VOXEL_NM, 64),
        *(_stages() if full else ()),
    ]


def _stages() -> list[Row]:
    """Both stages of 512^3 in blocks of 256, at mip 2; the process that has started already."""
    rows: list[Row] = []
    shape = (512,) * 3
    with TemporaryDirectory() as directory:
        volume = Path(directory) / "volume"
        write(volume, tiled, shape)
        forked(lambda: stages_in_one_process(config_of(volume, 256, 0.3))[0])
        attempt, plan = planned(config_of(volume, 256, 0.3, skeleton={"mip": 2}))
        cpu_s = 0.0
        for stage in ("skeleton", "skeleton_shards"):
            batches = range(plan.work[stage].batches)
            used = [magneton(stage, "--run", attempt, "--batch", n) for n in batches]
            cpu_s += sum(one.cpu_s for one in used)
            peak = max(r["peak_bytes"] for r in done(volume / "work", f"{stage}-*"))
            memory = plan.memory[stage]
            rows += [
                row(f"  {stage}: peak / bound", peak / memory.bound, "x", most=1.0),
                row("    peak / expected", peak / memory.expected, "x", least=0.6, most=1.3),
            ]
        magneton("release", "--run", attempt)
        us = cpu_s / np.prod(shape) * 1e6
    whole = row("stages of 512^3 at mip 2, with their starts", us, "us/voxel", most=MOST_CPU)
    return [whole, *rows]


def _dense(labels: NDArray[np.uint32]) -> Numbers:
    _, numbers = np.unique(labels, return_inverse=True)  # 0 is there, and stays 0
    return numbers.reshape(labels.shape).astype(np.uint32)


def _compared(what: str, numbers: Numbers, voxel_nm: float, cell: int) -> list[Row]:
    rules = Rules((voxel_nm,) * 3, SCALE, CONST_NM, TICK_NM)
    n = numbers.shape[0]
    even = {size: tuple(range(size, n, size)) for size in (n, cell, cell // 2)}
    one = _made(numbers, (even[n],) * 3, rules)
    rows = [
        row(f"{what}: cable in one block", one.cable_nm / 1e6, "mm"),
        row("  vertices of 1 mm", _vertices(one) / one.cable_nm * 1e6, ""),
    ]
    odd: Cuts = ((37, 91), (50,), (41, 77, 101))
    grids = {f"{cell}^3": (even[cell],) * 3, f"{cell // 2}^3": (even[cell // 2],) * 3, "odd": odd}
    for name, cuts in grids.items():
        some = _made(numbers, cuts, rules)
        raw_nm = sum(_raw_nm(pieces, rules) for pieces in some.pieces.values())
        same = sum(_trees(some.skeletons[k]) == _trees(s) for k, s in one.skeletons.items())
        cpu = (some.cell_s + some.join_s) / numbers.size / OF_MIP_2 * 1e6
        off, error = _radii(numbers, some, voxel_nm)
        rows += [
            row(f"  cells of {name}: objects with as many trees as in one block", f"{same} of {len(one.skeletons)}", "", ok=same == len(one.skeletons)),
            row("    cable against one block", 100 * (some.cable_nm / one.cable_nm - 1), "%"),
            row("    the same before twigs go", 100 * (raw_nm / one.cable_nm - 1), "%"),
            row("    cable elsewhere than in one block", 100 * _elsewhere(some, one, voxel_nm), "%"),
            row("    radii that a face made too large", 100 * off, "%"),
            row("    mean error of a radius", 100 * error, "%"),
            row("    CPU of cells and joins, by full-resolution voxels", cpu, "us/voxel", most=MOST_CPU),
        ]  # fmt: skip
    return rows


def _made(numbers: Numbers, cuts: Cuts, rules: Rules) -> Made:
    volume = Box.of_shape(vec3(numbers.shape))
    pieces: dict[int, list[Fragment]] = defaultdict(list)
    cell_s = 0.0
    for edges in product(*(pairwise((0, *c, n)) for c, n in zip(cuts, numbers.shape, strict=True))):
        box = Box(vec3(low for low, _ in edges), vec3(high for _, high in edges))
        read = box.grow((0, 0, 0), (1, 1, 1)).intersection(volume)
        cell, ids = _renumbered(numbers[read.slices()])
        low, high, _ = boxes_and_sums(cell, ids.size)
        planes = low[0].astype(np.int64), high[0].astype(np.int64)
        began = time.process_time()
        for number, fragment in fragments(cell, planes, box, volume, rules):
            pieces[int(ids[number - 1])].append(fragment)
        cell_s += time.process_time() - began
    began = time.process_time()
    skeletons = {number: joined(some, rules) for number, some in pieces.items()}
    return Made(skeletons, pieces, cell_s, time.process_time() - began)


def _renumbered(numbers: Numbers) -> tuple[Numbers, NDArray[np.uint32]]:
    ids, places = np.unique(numbers, return_inverse=True)
    has_none = int(ids[0] == 0)
    cell = places.reshape(numbers.shape).astype(np.uint32) + np.uint32(1 - has_none)
    return np.ascontiguousarray(cell), ids[has_none:]


def _vertices(made: Made) -> int:
    return sum(len(one.radii_nm) for one in made.skeletons.values())


def _raw_nm(pieces: list[Fragment], rules: Rules) -> float:
    return float(merged(pieces).lengths_nm(rules.voxel_size_nm).sum())


def _trees(skeleton: Skeleton) -> int:
    n, (one, other) = len(skeleton.radii_nm), skeleton.edges.T
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(n, n))
    return int(connected_components(graph, directed=False)[0])


def _elsewhere(some: Made, other: Made, voxel_nm: float) -> float:
    """Share of the cable that is far from the other skeleton of its object."""
    far = 0.0
    for number, one in some.skeletons.items():
        if len(one.edges):
            tree = cKDTree(other.skeletons[number].vertices_nm)
            away = tree.query(one.vertices_nm)[0] > np.maximum(one.radii_nm, FAR_VOX * voxel_nm)
            ends = one.vertices_nm[one.edges]
            lengths = np.sqrt(((ends[:, 0] - ends[:, 1]) ** 2).sum(1))
            far += float(lengths[away[one.edges].any(1)].sum())
    return far / some.cable_nm


def _radii(numbers: Numbers, made: Made, voxel_nm: float) -> tuple[float, float]:
    """Share of radii that are too large, and the mean error as a share of the radius."""
    errors = []
    low, high, _ = boxes_and_sums(numbers, int(numbers.max()))
    for number, one in made.skeletons.items():
        begin, end = low[:, number - 1], high[:, number - 1]
        box = tuple(slice(int(b), int(e)) for b, e in zip(begin, end, strict=True))
        true = distance_transform_edt(np.pad(numbers[box] == number, 1)) * voxel_nm
        at: Vec3 = tuple((one.vertices_nm / voxel_nm - 0.5).round().astype(int).T)
        inside = tuple(a - int(b) + 1 for a, b in zip(at, begin, strict=True))
        errors.append(one.radii_nm / true[inside] - 1)
    all_errors = np.concatenate(errors)
    return float((all_errors > 1e-3).mean()), float(np.abs(all_errors).mean())
