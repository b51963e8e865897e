"""How many files a work directory may hold, and how many it does."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import MAPPED

PER_BLOCK, PER_CELL, PER_BATCH, PER_RUN = 2, 1, 4, 20
#: By folder: files of a process that worked some of a stage; a record says which rows of which file are a
#: block's, or a group's.
PER_PROCESS = {"segment": 1, "count": 2, "faces": 1, "rounds": 2, "cut": 1}


def assert_few_files(work: Path, parts: int = 1) -> None:
    """At most 2 files a block, one a cell, 4 a batch and 20 a run, beside those that each process has of its own.

    ``parts``: processes a batch, where the plan doesn't know of them.
    """
    plans = [Plan.from_json(p.read_bytes(), str(p)) for p in work.glob("runs/*/*/plan.json")]
    assert plans, f"no run in {work}"
    given = [(s, w.batches, w.parts) for p in plans for s, w in p.work.items() if s in MAPPED]
    for path in work.glob("runs/*/*/groups/*.json"):
        late = json.loads(path.read_bytes())["work"]
        given.append((path.stem, late["batches"], late["parts"]))
    found = by_kind(work)
    of_blocks = _matching(found, "segment-.*/(labels.zarr/c|sizes|residuals)/")
    assert of_blocks.total() <= PER_BLOCK * len(plans[-1].geometry.grid), of_blocks
    of_cells = _matching(found, "apply-.*/objects/")
    assert of_cells.total() <= PER_CELL * len(plans[-1].geometry.cells) * len(plans), of_cells
    rest = found - of_blocks - of_cells
    for kind, most in PER_PROCESS.items():
        own = _matching(found, f"{kind}-.*/[a-z]+-[^/]*(slices|parquet)$")
        processes = sum(n * max(k, parts) for s, n, k in given if s.startswith(kind.rstrip("s")))
        assert own.total() <= most * processes, f"{kind}: {most * processes} allowed: {own}"
        rest -= own
    most = PER_BATCH * sum(batches for _, batches, _ in given) + PER_RUN * len(plans)
    assert rest.total() <= most, f"{rest.total()} files, {most} allowed: {rest}"


def _matching(found: Counter[str], pattern: str) -> Counter[str]:
    return Counter({kind: n for kind, n in found.items() if re.match(pattern, kind)})


def by_kind(work: Path) -> Counter[str]:
    """Files of a work directory by their names, without numbers and what is chosen at random."""
    names = (str(p.relative_to(work)) for p in work.rglob("*") if not p.is_dir())
    return Counter(re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{8,}", "f", name)) for name in names)
