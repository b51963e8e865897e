"""What a page says of a run in sum: each stage's progress, what runs, failed, was slow or took memory."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.outcome import run_time, verify_rows
from magneton_tasks.outcome.block_columns import MOST_LARGEST, QUEUED, StageColumns
from magneton_tasks.outcome.report_facts import pool_report, volume
from magneton_tasks.outcome.run_state import (
    block_failure,
    results_of,
    run_state,
    stage_failures,
    verify_failures,
)
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import noun_of
from magneton_tasks.stages.proof import MADE, made_words, words
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt

Data = dict[str, Any]

#: What the lists of a stage show at most: blocks that run, blocks that failed.
MOST_RUNNING, MOST_FAILED = 64, 200
#: Bars of a histogram; one block in two hundred may lie beyond the last but one.
_BARS, _BEYOND = 24, 0.005


def summarise(
    attempt: Attempt,
    columns: Mapping[str, StageColumns],
    alive: bool,
    verified: Mapping[str, Any] | None = None,
) -> Data:
    """The summary as plain data: times in unix seconds, units in the names.

    Parameters
    ----------
    verified
        verify's result, where it isn't written yet.
    """
    plan, told = attempt.plan, results_of(attempt.paths)
    if verified is None and "verify" in told:
        verified = told["verify"][0]
    now = time.time()
    stages = [_stage(attempt, found, now, is_alive=alive) for found in columns.values()]
    stages += verify_rows.rows(attempt, stages, now, is_alive=alive, verified=verified)
    outside = [*stage_failures(told), *verify_failures(verified)]
    failures = [*(f for stage in stages for f in stage["failures"]), *outside]
    state = run_state(verified, failures, alive and verified is None)
    ended = [s["ended"] for s in stages if s["ended"]]
    found = {
        "state": state,
        "proof": words(verified),
        "alive": alive,
        "nothing_to_do": plan.nothing_to_do,
        "directory": str(attempt.paths.root),
        "run": plan.run,
        "attempt": plan.attempt,
        "partition": plan.partition,
        "planned": plan.created,
        "ended": None if state == "running" else _end(attempt, ended, verified),
        "stages": stages,
        "outside": outside,
        "notes": [*attempt.threshold.warnings, *plan.notes],
        "cost": _cost(plan),
        "volume": volume(attempt),
        "runner": attempt.config.runner.default,
        "pool": _pool(attempt, columns),
        "made": _made(verified),
        "has_preview": attempt.paths.preview.is_file(),
        "has_report": attempt.paths.page.is_file(),
        "has_output": has_output(attempt),
    }
    return with_time_left(attempt, found, now)


def _made(verified: Mapping[str, Any] | None) -> Data:
    """What verify counted of meshes and skeletons, with words for it, by section of the config."""
    found = {section: (verified or {}).get(section) for section in MADE}
    return {s: {**made, "words": made_words(made)} for s, made in found.items() if made}


def with_time_left(attempt: Attempt, found: Data, now: float) -> Data:
    """A summary with the time that its run and each stage still take, as it is to expect ``now``."""
    rows = found["stages"]
    left = run_time.left_s(attempt, rows, now) if found["state"] == "running" else {}
    return {
        **found,
        "left_s": sum(left.values()) if left else None,
        "stages": [row | {"left_s": left.get(row["stage"]) or None} for row in rows],
    }


def has_output(attempt: Attempt) -> bool | None:
    """Whether there is a volume at a ``file://`` URL; None: it lies elsewhere, where nobody looked.

    Of several thresholds: at any of them.
    """
    from magneton_tasks.base.location import locate

    places = [locate(each.config.paths.output).path for each in attempt.each()]
    if None in places:
        return None
    return any(files.stat_size(place / "info") is not None for place in places if place)


def _end(attempt: Attempt, ended: Sequence[float], verified: object) -> float:
    """When the run ended: verify's result is its last word, which is written after its report."""
    told = results.ended_s(attempt.paths)
    if told is None and verified is not None:
        return time.time()
    return told or max(ended, default=attempt.plan.created)


def _cost(plan: Plan) -> Data:
    """What plan projected."""
    return {
        "expected_s": plan.expected_s,
        "cpu_s": sum(w.cpu_s for w in plan.work.values()),
        "workers": plan.workers,
        "files": plan.files,
        "output_bytes": plan.output_bytes,
        "label_bytes": plan.label_bytes,
        "memory_limit_bytes": plan.memory_limit,
        "batches": sum(w.batches for w in plan.work.values()),
    }


# ------------------------------------------------------------------ one stage
def _stage(attempt: Attempt, found: StageColumns, now: float, *, is_alive: bool) -> Data:
    stage, work = found.stage, found.attempt.plan.work.get(found.stage)
    row = found.row(now, is_alive=is_alive)
    memory = found.figures["peak_bytes"]
    return {
        **row,
        "noun": noun_of(stage),
        "pace_s": row["left_s"] if row["own"] + row["own_failed"] else None,
        "queued": found.count(QUEUED),
        "expected_cpu_s": work.cpu_s if work else None,
        "has_map": found.grid is not None, "layers": found.layers(),
        "running_now": [_working(found, k) for k in found.keys("r", MOST_RUNNING)],
        "failures": [
            {"stage": found.name, **block_failure(attempt, stage, record), "position": _position(found, k)}
            for k, record in sorted(found.failed.items())[:MOST_FAILED]
        ],
        "seconds": histogram(found.figures["seconds"]), "memory": histogram(memory),
        "slowest": found.slowest(), "fattest": _largest(found, memory),
    }  # fmt: skip


def _working(found: StageColumns, key: int) -> Data:
    return {"key": key, "position": _position(found, key), "since": found.times[key]}


def _largest(found: StageColumns, column: Sequence[float]) -> list[Data]:
    return [
        {"key": k, "position": _position(found, k), "value": column[k]}
        for k in found.largest(column, MOST_LARGEST)
    ]


def _position(found: StageColumns, key: int) -> list[int] | None:
    return list(found.grid.index3(key)) if found.grid is not None else None


def histogram(values: Sequence[float]) -> Data | None:
    """Counts in bars of equal width; the last bar holds what lies beyond. None without values."""
    known = sorted(v for v in values if v == v)
    if not known:
        return None
    low, high = known[0], known[min(int(len(known) * (1 - _BEYOND)), len(known) - 1)]
    width = (high - low) / _BARS
    if width <= 0:
        return {"low": low, "width": 0.0, "counts": [len(known)], "most": known[-1]}
    edges = [bisect_right(known, low + width * k) for k in range(1, _BARS)]
    counts = [b - a for a, b in zip([0, *edges], [*edges, len(known)], strict=True)]
    return {"low": low, "width": width, "counts": counts, "most": known[-1]}


# ------------------------------------------------------------------ the pool
def _pool(attempt: Attempt, columns: Mapping[str, StageColumns]) -> Data | None:
    """What pool reported, where its result still counts."""
    if "pool" not in columns or not columns["pool"].count("d"):
        return None
    with suppress(OSError, ValueError, json.JSONDecodeError):
        report = pool_report(attempt)
        if report is None:
            return None
        # a script's numbers are exact up to 2^53 only
        largest = [{**o, "global_id": str(o["global_id"])} for o in report.get("largest", [])[:10]]
        return {**report, "largest": largest}
    return None
