"""How many files a work directory may hold, and how many it does."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import MAPPED

PER_BLOCK, PER_BATCH, PER_RUN = 2, 4, 20


def assert_few_files(work: Path, parts: int = 1) -> None:
    """At most 2 files a block, 4 a batch and 20 a run; 2 a process that counted, summed up faces, or worked a round.

    ``parts``: processes a batch, where the plan doesn't know of them.
    """
    plans = [Plan.from_json(p.read_bytes(), str(p)) for p in work.glob("runs/*/*/plan.json")]
    assert plans, f"no run in {work}"
    batches = sum(p.work[s].batches for p in plans for s in p.work if s in MAPPED)
    batches += sum(
        json.loads(p.read_bytes())["work"]["batches"] for p in work.glob("runs/*/*/groups/*.json")
    )
    geometry = plans[-1].geometry
    found = by_kind(work)
    of_blocks = Counter(
        {
            k: n
            for k, n in found.items()
            if re.match("segment-.*/(labels.zarr/c|sizes|residuals)/", k)
        }
    )
    assert of_blocks.total() <= PER_BLOCK * len(geometry.grid), of_blocks
    # Of its own of each process: a record says which rows of which file are a block's.
    counted = Counter(
        {k: n for k, n in found.items() if re.match("count-[^/]*/[a-z]+-.*parquet", k)}
    )
    counting = [p.work["count"] for p in plans if "count" in p.work]
    assert counted.total() <= 2 * sum(w.batches * max(w.parts, parts) for w in counting), counted
    rest, most = found - of_blocks - counted, PER_BATCH * batches + PER_RUN * len(plans)
    assert rest.total() <= most, f"{rest.total()} files, {most} allowed: {rest}"


def by_kind(work: Path) -> Counter[str]:
    """Files of a work directory by their names, without numbers and what is chosen at random."""
    names = (str(p.relative_to(work)) for p in work.rglob("*") if not p.is_dir())
    return Counter(re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{8,}", "f", name)) for name in names)
