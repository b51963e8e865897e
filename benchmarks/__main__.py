"""``python -m benchmarks [NAME ...] [--full]``: measure, print one table, keep the rows as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measure import Row, benchmark, table

NAMES = (
    "start",
    "stage_start",
    "plan",
    "dags",
    "pool",
    "pipeline",
    "verify",
    "sharding",
    "meshes",
    "skeletons",
    "quality",
    "map_threshold",
    "memory",
    "segment",
    "in_memory",
    "exact",
    "exact_pipeline",
    "exact_rounds",
    "exact_runs",
    "exact_scaling",
    "tune",
    "view",
    "view_3d",
    "docker",
    "slurm",
    "airflow",
    "block_map",
)
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what was asked for; 1 where a demand was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default all"
    )
    parser.add_argument("--full", action="store_true", help="also the long measurements")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose of {', '.join(NAMES)}")
    RESULTS.mkdir(exist_ok=True)
    rows: list[Row] = []
    for name in options.names or NAMES:
        began = time.time()
        print(f"{name} ...", flush=True)
        found = _in_fresh_process(name, options.full)
        (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(table(found) + f"\n({name}: {time.time() - began:.0f} s)\n", flush=True)
        rows += found
    summary = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
    (RESULTS / "summary.json").write_text(json.dumps(summary | {"rows": rows}, indent=1) + "\n")
    print(table(rows))
    missed = [r["what"] for r in rows if r["ok"] is False]
    print(f"\n{len(missed)} missed: {'; '.join(missed)}" if missed else "\nnothing missed")
    return 1 if missed else 0


def _in_fresh_process(name: str, full: bool) -> list[Row]:
    """The rows of one benchmark; the peak of a child counts what its parent held when it started it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(benchmark, name, full).result()


if __name__ == "__main__":
    sys.exit(main())
