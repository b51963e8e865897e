"""Stage verify: prove that the result is complete. Green means complete."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from magneton_tasks.errors import BadDataError
from magneton_tasks.manifest import Record
from magneton_tasks.stages.attempt import Attempt, count_input, pool_input
from magneton_tasks.stages.blocks import pool_invalidating
from magneton_tasks.stages.inputs import input_digest
from magneton_tasks.stages.replaced import mark_finished
from magneton_tasks.stages.stores import pool_table, segmentation, table_dir
from magneton_tasks.stages.work import explain, failure_of, finish, say
from magneton_tasks.stores.precomputed import PrecomputedStore

#: Findings that are listed one by one.
_LISTED = 20


@dataclass
class Findings:
    """What isn't as it must be."""

    problems: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.problems.append(text)
        if len(self.problems) <= _LISTED:
            say(f"verify: {text}")


def run(attempt: Attempt) -> int:
    """Check the stages that were asked for; returns the exit code."""
    began = time.time()
    result: dict[str, Any] = {"stage": "verify", "stages": list(attempt.plan.stages)}
    try:
        result |= verify(attempt)
        code = 0
    except Exception as caught:
        error = explain(caught)
        code = error.exit_code
        say(f"verify: FAILED ({code}): {error}")
        result["failures"] = [{"key": None, **failure_of(error)}]
    result["seconds"] = round(time.time() - began, 3)
    _report(attempt, result)
    finish(attempt, "verify", result)
    return code


def _report(attempt: Attempt, result: dict[str, Any]) -> None:
    """Write the report; the result is what it is, whether or not that works."""
    try:
        from magneton_tasks.stages.report import write_report

        write_report(attempt, result)
    except Exception as caught:
        say(f"verify: WARNING: the report couldn't be written: {type(caught).__name__}: {caught}")


def verify(attempt: Attempt) -> dict[str, Any]:
    """What the volume holds.

    Raises
    ------
    BadDataError
        Something is missing or wrong; it is invalidated, so that a rerun mends it.
    """
    findings, stages = Findings(), attempt.plan.stages
    n = len(attempt.plan.geometry.grid)
    segments = attempt.require("segment", range(n))
    counted: dict[str, Any] = {"blocks": n, "labels": sum(r.info["n"] for r in segments.values())}
    counted["empty_blocks"] = sum(r.state == "empty" for r in segments.values())
    _check_inputs(attempt, segments, findings)
    if "pool" in stages or "apply" in stages:
        pool = _check_pool(attempt, segments, findings)
        counted |= {"objects": pool.info["objects"], "joins": pool.info["joins"]}
    if "apply" in stages:
        counted["chunks"] = _check_output(attempt, pool, findings)
    if findings.problems:
        raise BadDataError(
            f"the result isn't complete: {len(findings.problems):,} findings; the first: {findings.problems[0]}",
            "rerun (in Airflow: clear the task plan): what is named above is computed again",
        )
    if "apply" in stages:
        _preview(attempt)
        mark_finished(attempt)
    say(f"verify: complete: {json.dumps(counted)}")
    return counted


def _preview(attempt: Attempt) -> None:
    """Draw the preview, unless the result is that of the last time."""
    if not attempt.plan.nothing_to_do:
        from magneton_tasks.stages.preview import write_preview  # heavy

        write_preview(attempt)


def _check_inputs(attempt: Attempt, segments: dict[int, Record], findings: Findings) -> None:
    stale = {
        k: "its input changed" for k, r in segments.items() if r.input != input_digest(attempt, k)
    }
    for key, cause in stale.items():
        findings.add(f"block {key}: {cause} while the run was going on")
    if stale:
        attempt.invalidate("segment", stale)


def _check_pool(attempt: Attempt, segments: dict[int, Record], findings: Findings) -> Record:
    """Every block counted, with the labels it has; every label has a global id."""
    grid = attempt.plan.geometry.grid
    counts = attempt.require("count", range(len(grid)))
    labels = {k: r.output or "" for k, r in segments.items()}
    wrong = {}
    for key, record in counts.items():
        if record.input != count_input(labels, key, grid.later_neighbours(key)):
            wrong[key] = "was counted with other labels than it has now"
    pool = attempt.require("pool", {0})[0]
    for key, cause in wrong.items():
        findings.add(f"block {key}: {cause}")
    if wrong:
        attempt.invalidate("count", wrong)
    elif pool.input != pool_input({k: r.input or "" for k, r in counts.items()}):
        findings.add("the pool was made from other pairs than those there are now")
        attempt.invalidate("pool", {0: "made from other pairs"})
    _check_table(attempt, pool, segments, findings)
    return pool


def _check_table(
    attempt: Attempt, pool: Record, segments: dict[int, Record], findings: Findings
) -> None:
    with pool_invalidating(attempt):
        rows = pool_table(attempt, pool).counts()
    bad = [k for k, r in segments.items() if rows.get(k, 0) != r.info["n"]]
    for key in bad:
        findings.add(
            f"block {key}: {segments[key].info['n']} labels, but {rows.get(key, 0)} rows in the pool table"
        )
    if bad:
        attempt.invalidate("pool", {0: f"rows missing in {table_dir(attempt, pool.input or '')}"})


def _check_output(attempt: Attempt, pool: Record, findings: Findings) -> int:
    """Every cell written with this pool, and each of its chunks there with the recorded size."""
    geometry, output = attempt.plan.geometry, segmentation(attempt)
    sizes = [output.sizes_on_disk(mip) for mip in range(len(geometry.factors) + 1)]
    chunks = 0
    stages = [("apply", geometry.cells, 0)]
    if geometry.coarse_cells is not None:
        stages.append(("downsample", geometry.coarse_cells, geometry.cell_mips))
    for stage, cells, base in stages:
        records, bad = attempt.require(stage, range(len(cells))), {}
        for key, record in records.items():
            cause = None
            if record.info.get("pool") != pool.input:
                cause = "was written with another pool table"
            else:
                first = base + (stage == "downsample")
                box = geometry.cell_box(stage, key, first)
                missing = _missing(output, sizes, record, box, first, geometry)
                chunks += sum(map(len, record.info["chunks"]))
                if missing:
                    cause = f"{len(missing)} chunks are missing or have another size, such as {missing[0]}"
            if cause:
                bad[key] = cause
                findings.add(f"{stage} cell {key}: {cause}")
        if bad:
            attempt.invalidate(stage, bad)
    return chunks


def _missing(
    output: PrecomputedStore,
    sizes: list[dict[str, int]],
    record: Record,
    box: Any,
    first: int,
    geometry: Any,
) -> list[str]:
    """Names of the cell's chunks that aren't there as recorded."""
    missing = []
    for k, recorded in enumerate(record.info["chunks"]):
        mip = first + k
        if k:
            box = geometry.coarser(box, mip - 1)
        found, names = sizes[mip], output.chunk_names(box)
        missing += [
            f"{output.scales[mip].key}/{name}"
            for name, size in zip(names, recorded, strict=True)
            if found.get(name) != size
        ]
    return missing
