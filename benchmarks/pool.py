"""The pool stage on synthetic pairs: CPU seconds and peak memory over 10^5, 10^6 and 10^7 labels.

Three pairs a label, 20,000 labels a block, blocks that meet their face neighbours; pairs, label
sizes and records lie in files as count leaves them. Measured is the whole process ``magneton pool``:
reading, matching, union-find, the report, and writing the pool table. What a process takes before
it has any labels is measured with 5 blocks of 4 labels, and taken off where a row says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Row, forked, magneton, row
from benchmarks.volumes import Planned, write_config, write_records, zarr_info
from magneton_tasks.base.geometry import Vec3, vec3

PAIRS_PER_LABEL = 3
LABELS_PER_BLOCK = 20_000
#: Rows of a file of pairs, as count flushes them.
ROWS_PER_FILE = 2_000_000
#: Labels, and the grid whose blocks hold them.
SIZES: dict[int, Vec3] = {100_000: (1, 1, 5), 1_000_000: (2, 5, 5), 10_000_000: (5, 10, 10)}
MOST_S, MOST_BYTES = 30.0, 1.5e9
#: CPU time a label may grow by this from 10^6 to 10^7 and still be called linear: at 10^7 the
#: tables no longer fit the cache.
MOST_GROWTH = 2.0

Columns = dict[str, npt.NDArray[np.uint32]]


def run(*, full: bool = False) -> list[Row]:
    """Measure each number of labels."""
    start = _measure((1, 1, 5), 4)
    rows = [row("start-up of pool", start.cpu_s, "CPU s", peak_bytes=start.peak_bytes)]
    per_label = {}
    for labels, shape in SIZES.items():
        used = _measure(shape, LABELS_PER_BLOCK)
        per_label[labels] = (used.work_s - start.work_s) / labels * 1e6
        largest = labels == max(SIZES)
        above = used.peak_bytes - start.peak_bytes
        rows += [
            row(
                f"pool of {labels:,} labels, {used.pairs:,} pairs",
                used.cpu_s,
                "CPU s",
                most=MOST_S if largest else None,
            ),
            row(
                "  its peak above imports",
                above / 1e6,
                "MB",
                most=MOST_BYTES / 1e6 if largest else None,
            ),
            row("  a label, without start-up", per_label[labels], "CPU us"),
            row("  a label, memory above imports", above / labels, "bytes"),
        ]
    growth = per_label[10_000_000] / per_label[1_000_000]
    return [*rows, row("CPU a label, 10^7 / 10^6 labels", growth, "x", most=MOST_GROWTH)]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process of pool took; ``work_s``: without its imports."""

    pairs: int
    cpu_s: float
    work_s: float
    peak_bytes: int


def _measure(shape: Vec3, labels_per_block: int) -> Measured:
    """The least of three runs, the largest but once."""
    with TemporaryDirectory() as directory:
        root = Path(directory)
        size, overlap = 16, 4
        zarr_info(root / "affinity", vec3(_length(n, size, overlap) for n in shape))
        config = write_config(root, {"block": {"size": [size] * 3, "overlap": [overlap] * 3}})
        printed = magneton("plan", config, "--run-id", "bench").stdout
        attempt = json.loads(printed.splitlines()[-1])["attempt"]
        pairs, _ = forked(lambda: _count(Planned(config), shape, labels_per_block))
        found = []
        for _ in range(3 if len(Planned(config).geometry.grid) < 500 else 1):
            used = magneton("pool", "--run", attempt)
            work_s = json.loads(used.stdout.splitlines()[-1])["cpu_s"]
            found.append(Measured(pairs, used.cpu_s, work_s, used.peak_bytes))
            shutil.rmtree(Planned(config).stage_dir("pool"))  # or the next finds nothing to do
        return min(found, key=lambda m: m.work_s)


def _length(blocks: int, size: int, overlap: int) -> int:
    """Voxels along an axis that is cut into so many blocks."""
    return size if blocks == 1 else blocks * (size - overlap)


def _count(planned: Planned, shape: Vec3, labels_per_block: int) -> int:
    """Files and records as count would leave them; how many pairs there are."""
    grid, directory = planned.geometry.grid, planned.stage_dir("count")
    assert grid.shape == shape, grid.shape
    rng = np.random.default_rng(0)
    neighbours = {k: list(_face_neighbours(planned, k)) for k in range(len(grid))}
    block_pairs = sum(map(len, neighbours.values()))
    per_pair = PAIRS_PER_LABEL * labels_per_block * len(grid) // block_pairs
    infos: dict[int, dict[str, Any]] = {}
    held: list[tuple[int, list[Columns]]] = []
    total = 0
    for key, later in neighbours.items():
        held.append((key, [_block_pair(key, b, labels_per_block, per_pair, rng) for b in later]))
        rows = sum(len(p["n"]) for _, found in held for p in found)
        if rows >= ROWS_PER_FILE or key + 1 == len(grid):
            infos |= _write_file(directory, held, labels_per_block, rng)
            held, total = [], total + rows
    write_records(
        directory / "records",
        "count",
        range(len(grid)),
        lambda k: {"input": f"{k}", "info": infos[k]},
    )
    return total


def _write_file(
    directory: Path,
    held: list[tuple[int, list[Columns]]],
    labels_per_block: int,
    rng: np.random.Generator,
) -> dict[int, dict[str, Any]]:
    from magneton_tasks.work.tables import PAIR_COLUMNS, write_label_sizes, write_pairs

    name = f"host-1-{held[0][0]:08d}"
    parts = [p for _, found in held for p in found]
    columns = {
        c: np.concatenate([np.zeros(0, np.uint32), *(p[c] for p in parts)]) for c in PAIR_COLUMNS
    }
    pairs = write_pairs(directory / f"pairs-{name}.parquet", columns)
    core = rng.integers(1, 2000, labels_per_block).astype(np.uint32)
    sizes = write_label_sizes(
        directory / f"sizes-{name}.parquet", [(k, core, 2 * core) for k, _ in held]
    )
    files = {"pairs": [pairs.size, pairs.crc32], "sizes": [sizes.size, sizes.crc32]}
    infos = {}
    begin = 0
    for i, (key, found) in enumerate(held):
        n = sum(len(p["n"]) for p in found)
        infos[key] = {
            "n": labels_per_block, "file": name, "pairs": [begin, n],
            "sizes": [i * labels_per_block, labels_per_block], "files": files,
        }  # fmt: skip
        begin += n
    return infos


def _face_neighbours(planned: Planned, key: int) -> Iterator[int]:
    grid = planned.geometry.grid
    at = grid.index3(key)
    for other in grid.later_neighbours(key):
        if sum(abs(a - b) for a, b in zip(at, grid.index3(other), strict=True)) == 1:
            yield other


def _block_pair(a: int, b: int, n: int, rows: int, rng: np.random.Generator) -> Columns:
    """About ``rows`` pairs between two blocks; counts agree with each other as real ones do."""
    # Labels are numbered in raster order: partners have similar numbers, give or take a row.
    label_a = rng.integers(1, n + 1, rows + rows // 4)
    label_b = (label_a + rng.integers(-3, 4, len(label_a))) % n + 1
    keys = np.unique(label_a << 32 | label_b)
    keys = np.sort(rng.permutation(keys)[:rows])
    label_a, label_b = keys >> 32, keys & 0xFFFFFFFF
    shared = rng.geometric(0.01, len(keys))
    a_in = np.bincount(label_a, shared, n + 1).astype(np.int64) + rng.integers(0, 20, n + 1)
    b_in = np.bincount(label_b, shared, n + 1).astype(np.int64) + rng.integers(0, 20, n + 1)
    columns = {
        "block_a": np.full(len(keys), a), "block_b": np.full(len(keys), b),
        "label_a": label_a, "label_b": label_b, "n": shared,
        "a_in": a_in[label_a], "b_in": b_in[label_b],
        "a_all": 8 * a_in[label_a], "b_all": 8 * b_in[label_b],
    }  # fmt: skip
    return {name: column.astype(np.uint32) for name, column in columns.items()}
