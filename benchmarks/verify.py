"""verify with checksums against verify that looks at sizes only, on the same finished output.

The output is that of `pipeline`: blocks of 256^3 of real affinities, all mips. For "sizes only" the
records are those of a release without checksums. Both are verified in turn, several times, in
processes of their own that hold the same imports; what counts is the least of each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import pipeline
from benchmarks.measure import Row, forked, magneton, row

SIZE, OVERLAP, BLOCKS = 256, 32, 2
TIMES = 5
#: CPU seconds of segmenting a voxel that is read, `mean`: measured by benchmarks/segment.py.
SEGMENT_S_PER_VOXEL = 0.55e-6
MOST_OF_RUN = 0.03


def run(*, full: bool = False) -> list[Row]:
    """Measure; ``full`` takes 3 x 3 x 3 blocks."""
    blocks = BLOCKS + full
    with TemporaryDirectory() as directory:
        root = Path(directory) / "volume"
        used, plan = pipeline.measure(root, SIZE, OVERLAP, blocks)
        (first,) = root.glob("work/runs/*/1")
        magneton("verify", "--run", first)
        magneton("plan", root / "volume.yaml", "--run-id", "bench")
        (attempt,) = root.glob("work/runs/*/2")  # nothing to do: no preview is drawn
        verified = [_verified(attempt, root) for _ in range(TIMES)]
        process_s = magneton("verify", "--run", attempt).cpu_s
    grid = plan.geometry.grid
    read = sum(grid.read(k).voxels for k in range(len(grid)))
    run_s = read * SEGMENT_S_PER_VOXEL + sum(stage["cpu_s"] for stage in used.values())
    summed = min(v["all"]["cpu_s"] for v in verified)
    sized = min(v["sizes"]["cpu_s"] for v in verified)
    checked = verified[0]["all"]["checked"]
    assert checked["how"] == "all", checked
    assert verified[0]["sizes"]["checked"]["how"] == "sizes", verified
    n = checked["chunks"]
    return [
        row(
            f"verify of {blocks}^3 blocks of {SIZE}^3, {n:,} chunks read / sizes only",
            summed / sized,
            "x",
        ),
        row("  more than sizes only", (summed - sized) * 1e3, "CPU ms", process_s=process_s),
        row("  more than sizes only, a chunk", (summed - sized) / n * 1e6, "CPU us"),
        row(
            "  more than sizes only / CPU time of segment, count, pool, apply",
            (summed - sized) / run_s,
            "x",
            most=MOST_OF_RUN,
        ),
    ]


def _verified(attempt: Path, root: Path) -> dict[str, Any]:
    with _records_without_checksums(root):
        sizes, _ = forked(lambda: _verify(attempt))
    every, _ = forked(lambda: _verify(attempt))
    return {"all": every, "sizes": sizes}


def _verify(path: Path) -> dict[str, Any]:
    from magneton_tasks.stages import verify
    from magneton_tasks.work.attempt import Attempt

    attempt = Attempt.open(path)
    verify.verify(attempt)  # imports, and the file system's cache
    began = time.process_time()
    found = verify.verify(attempt)
    return {"cpu_s": time.process_time() - began, "checked": found["checked"]}


@contextmanager
def _records_without_checksums(root: Path) -> Iterator[None]:
    """Meanwhile the records of the output are those of a release without checksums."""
    kept = {p: p.read_text() for p in root.glob("work/apply-*/**/*.jsonl")}
    for path, text in kept.items():
        records = [json.loads(line) for line in text.splitlines()]
        for record in records:
            record.get("info", {}).pop("crc32", None)
        path.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in records))
    yield
    for path, text in kept.items():
        path.write_text(text)


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
