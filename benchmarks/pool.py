"""Pool on synthetic pairs: CPU seconds and peak memory over 10^5, 10^6, 10^7 labels.

Three pairs a label, some 20,000 labels a block, blocks in a near-cubic grid that meet their face
neighbours; the pairs lie in a parquet file like those that count writes. Measured, in a fresh
process for each size and after numba's compilation: reading the file, matching, union-find,
core sizes, report, and the global ids of every block.

Run ``python benchmarks/pool.py [--max 1e7]``; the numbers go to ``benchmarks/results/pool.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from magneton_tasks.kernels.matching import MATCH_COLUMNS, Rule, match, whole_block_pairs
from magneton_tasks.kernels.pooling import Pooling

LABELS_PER_BLOCK = 20_000
PAIRS_PER_LABEL = 3
ROW_GROUP = 1_000_000
COLUMNS = (*MATCH_COLUMNS, "a_all", "b_all")
SIZES = (100_000, 1_000_000, 10_000_000)
RESULTS = Path(__file__).parent / "results" / "pool.json"

Columns = dict[str, npt.NDArray[np.uint32]]


def run(sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """Measure each number of labels; one row each."""
    rows = []
    for labels in sizes:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "pairs.parquet"
            pairs = write_pairs(path, labels)
            # A process of its own, not forked: its peak memory is its own too.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                measured = process.submit(measure, str(path), labels).result()
            rows.append({"labels": labels, "pairs": pairs, **measured})
    return rows


def measure(path: str, labels: int) -> dict[str, Any]:
    """Pool the pairs of a file; called in a fresh process."""
    rng = np.random.default_rng(1)
    warm = {name: np.ones(1, np.uint32) for name in MATCH_COLUMNS}
    core_sizes = rng.integers(1, 2000, LABELS_PER_BLOCK).astype(np.uint32)
    pool_batches(
        np.array([LABELS_PER_BLOCK] * 2), [warm], core_sizes
    )  # compiles, or loads the cache
    before_bytes, start = memory_bytes("VmRSS"), process_time()
    # One thread: the CPU seconds are those of the work, not of waiting threads.
    batches = pq.ParquetFile(path).iter_batches(
        ROW_GROUP, columns=list(MATCH_COLUMNS), use_threads=False
    )
    columns = ({name: batch[name].to_numpy() for name in MATCH_COLUMNS} for batch in batches)
    counts = np.full(labels // LABELS_PER_BLOCK, LABELS_PER_BLOCK, np.int64)
    result = pool_batches(counts, columns, core_sizes)
    cpu_s = process_time() - start
    return {
        "cpu_s": round(cpu_s, 3),
        "cpu_us_per_label": round(cpu_s / labels * 1e6, 3),
        "peak_above_imports_bytes": memory_bytes("VmHWM") - before_bytes,
        **result,
    }


def pool_batches(
    counts: npt.NDArray[np.int64], batches: Any, core_sizes: npt.NDArray[np.uint32]
) -> dict[str, Any]:
    """The pool stage without its files."""
    pooling = Pooling(counts)
    kernels_s = 0.0
    for pairs in whole_block_pairs(batches):
        start = process_time()
        joined = match(pairs, Rule("mutual"))
        pooling.add(*(pairs[n][joined] for n in ("block_a", "block_b", "label_a", "label_b")))
        kernels_s += process_time() - start
    start = process_time()
    pool = pooling.finish()
    for block in range(len(counts)):
        pool.add_sizes(block, core_sizes)
    pool.leave_out(100)
    report = pool.report(volume_vox=len(counts) * 256**3)
    checksum = 0
    for block in range(len(counts)):
        checksum ^= int(np.bitwise_xor.reduce(pool.global_ids(block)))
    kernels_s += process_time() - start
    return {
        "kernels_cpu_s": round(kernels_s, 3),
        "joins": report.joins,
        "objects": report.objects,
        "largest_labels": report.largest[0].labels,
        "checksum": checksum,
    }


def write_pairs(path: Path, labels: int) -> int:
    """Write the pairs of ``labels`` labels in row groups; how many there are."""
    rng = np.random.default_rng(0)
    blocks = labels // LABELS_PER_BLOCK
    neighbours = list(face_neighbours(blocks))
    schema = pa.schema([(name, pa.uint32()) for name in COLUMNS])
    written = 0
    held: list[Columns] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for i, (a, b) in enumerate(neighbours):
            due = PAIRS_PER_LABEL * labels * (i + 1) // len(neighbours)
            held.append(block_pair(a, b, due - written, rng))
            written += len(held[-1]["n"])
            if i + 1 == len(neighbours) or sum(len(h["n"]) for h in held) >= ROW_GROUP:
                joined = {name: np.concatenate([h[name] for h in held]) for name in COLUMNS}
                writer.write_table(pa.table(joined, schema), row_group_size=ROW_GROUP)
                held = []
    return written


def block_pair(a: int, b: int, rows: int, rng: np.random.Generator) -> Columns:
    """About ``rows`` pairs between two blocks; counts agree with each other as real ones do."""
    n = LABELS_PER_BLOCK
    # Labels are numbered in raster order: partners have similar numbers, give or take a row.
    label_a = rng.integers(1, n + 1, rows + rows // 8)
    label_b = (label_a + rng.integers(-3, 4, len(label_a))) % n + 1
    keys = np.unique(label_a << 32 | label_b)
    keys = np.sort(rng.permutation(keys)[:rows])
    label_a, label_b = keys >> 32, keys & 0xFFFFFFFF
    shared = rng.geometric(0.01, len(keys))
    a_in = np.bincount(label_a, shared, n + 1).astype(np.int64) + rng.integers(0, 20, n + 1)
    b_in = np.bincount(label_b, shared, n + 1).astype(np.int64) + rng.integers(0, 20, n + 1)
    values = (
        np.full(len(keys), a), np.full(len(keys), b), label_a, label_b, shared,
        a_in[label_a], b_in[label_b], 8 * a_in[label_a], 8 * b_in[label_b],
    )  # fmt: skip
    return {name: v.astype(np.uint32) for name, v in zip(COLUMNS, values, strict=True)}


def face_neighbours(blocks: int) -> Iterator[tuple[int, int]]:
    """(a, b), a < b, of the blocks that share a face in the smallest cube that holds them all."""
    side = next(s for s in range(1, blocks + 2) if s**3 >= blocks)
    for a, step in product(range(blocks), (0, 1, 2)):
        coordinate = a // side**step % side
        if coordinate + 1 < side and a + side**step < blocks:
            yield a, a + side**step


def memory_bytes(field: str) -> int:
    """VmRSS or VmHWM (its peak since the program started) of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure pool on synthetic pairs.")
    parser.add_argument("--max", type=float, default=1e7, help="largest number of labels")
    largest = parser.parse_args().max
    rows = run(tuple(size for size in SIZES if size <= largest))
    print(f"{'labels':>10} {'pairs':>10} {'joins':>10} {'CPU s':>8} {'of which':>8} {'us/label':>8} {'peak MB':>8}")  # fmt: skip
    print(f"{'':>39} {'kernels':>8}")
    for row in rows:
        print(
            f"{row['labels']:>10,} {row['pairs']:>10,} {row['joins']:>10,} {row['cpu_s']:>8.2f} "
            f"{row['kernels_cpu_s']:>8.2f} {row['cpu_us_per_label']:>8.3f} "
            f"{row['peak_above_imports_bytes'] / 1e6:>8.0f}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
