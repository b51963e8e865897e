"""The report of an attempt: ``report.json`` with exact figures, ``report.html`` for people.

Collected from the records, at any time: of a run that is verified, one that failed, one that goes
on. `after_verify` writes it after verify.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.outcome import block_squares
from magneton_tasks.outcome.before import attempt_before
from magneton_tasks.outcome.block_columns import StageColumns, VolumeColumns
from magneton_tasks.outcome.block_squares import Squares
from magneton_tasks.outcome.current import is_alive
from magneton_tasks.outcome.report_facts import look, pool_report, settings, versions, volume
from magneton_tasks.outcome.run_state import (
    NOTHING_OWN,
    block_failure,
    results_of,
    run_state,
    stage_failures,
    verify_failures,
)
from magneton_tasks.stages.proof import words
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths

if TYPE_CHECKING:
    from magneton_tasks.outcome.page.shapes import ShownShapes

#: Of the layout of report.json; another one's isn't taken over.
FORMAT = 2

Data = dict[str, Any]


def write_report(attempt: Attempt, verified: Mapping[str, Any] | None = None) -> None:
    """Write ``report.json`` and ``report.html`` into the attempt's directory.

    Parameters
    ----------
    verified
        verify's result, where it isn't written yet.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    from magneton_tasks.outcome.page import frozen  # jinja2

    taken = earlier(attempt) if attempt.plan.nothing_to_do else None
    found = None if taken else columns_now(attempt)
    data = _report(attempt, verified, taken, found)
    files.write_atomic(attempt.paths.report, json.dumps(data, separators=(",", ":")).encode())
    preview = attempt.paths.preview
    picture = preview.read_bytes() if preview.is_file() else None
    page = frozen.render(_page(attempt, verified, found), picture, _shapes(attempt))
    files.write_atomic(attempt.paths.page, page.encode())


def _shapes(attempt: Attempt) -> ShownShapes | None:
    """The largest objects in 3D, where the run drew them."""
    from magneton_tasks.outcome.page.shapes import shown

    packed, picture = attempt.paths.shapes, attempt.paths.shapes_picture
    if not packed.is_file() or not picture.is_file():
        return None
    return shown(packed.read_bytes(), picture.read_bytes())


def collect(attempt: Attempt, verified: Mapping[str, Any] | None = None) -> Data:
    """What a report says, as plain data: exact numbers, units in the names.

    Parameters
    ----------
    verified
        As for :func:`write_report`.
    """
    taken = earlier(attempt) if attempt.plan.nothing_to_do else None
    return _report(attempt, verified, taken, None if taken else columns_now(attempt))


def _page(attempt: Attempt, verified: Mapping[str, Any] | None, found: Found | None) -> Data:
    """What the page shows; ``found`` None: nothing has changed since the attempt before."""
    from magneton_tasks.outcome.page import data, frozen

    if found is None:
        before = _before_at(attempt)
        told = frozen.data_of(before.page) if before is not None else None
        if told is not None:
            return data.retold(attempt, told, verified)
        found = columns_now(attempt)
    alive = verified is None and is_alive(attempt)
    return data.whole(attempt, found.volume, found.squares, alive, verified)


def _report(
    attempt: Attempt,
    verified: Mapping[str, Any] | None,
    taken: Data | None,
    found: Found | None,
) -> Data:
    """What report.json holds: of the attempt before (``taken``), else of the records (``found``)."""
    plan, paths = attempt.plan, attempt.paths
    ended = time.time()
    told = results_of(paths)
    if verified is None and "verify" in told:
        verified, ended = told["verify"][0], results.ended_s(paths) or ended
    worked = taken or _worked(attempt, told, found or columns_now(attempt))
    failures = [*worked.pop("failures"), *stage_failures(told), *verify_failures(verified)]
    alive = verified is None and is_alive(attempt)
    pooled = any(s["stage"] == "pool" and s["done"] for s in worked["stages"])  # each has its own
    if verified is None and not alive:
        ended = max((s["ended"] for s in worked["stages"] if s["ended"]), default=plan.created)
    return {
        "format": FORMAT,
        "made": time.time(),
        "state": run_state(verified, failures, alive),
        "nothing_to_do": plan.nothing_to_do,
        "run": plan.run,
        "attempt": plan.attempt,
        "directory": str(paths.root),
        "config": plan.config_path,
        "partition": plan.partition,
        "restart": plan.restart,
        "asked": list(plan.stages),
        "runner": attempt.config.runner.default,
        "workers": plan.workers,
        "planned": plan.created,
        "ended": ended,
        "seconds": round(max(ended - plan.created, 0), 3),
        "versions": versions(),
        "fingerprints": asdict(plan.fingerprints),
        "volume": volume(attempt),
        "settings": list(settings(attempt.config)),
        "notes": [*attempt.threshold.warnings, *plan.notes],
        "failures": failures,
        "verify": dict(verified) if verified else None,
        "proof": words(verified),
        "pool": pool_report(attempt) if pooled else None,
        "look": look(attempt),
        **worked,
    }


# ------------------------------------------------------------------ what the records say
@dataclass(frozen=True)
class Found:
    """What the records say of an attempt's blocks, and the squares of each stage with a map."""

    volume: VolumeColumns
    squares: Mapping[str, list[Squares]]


def columns_now(attempt: Attempt) -> Found:
    """What the records say now."""
    found = VolumeColumns(attempt)
    each = found.states(alive=is_alive(attempt))
    found.take_in(each)
    for name, columns in found.stages.items():
        judged = found.states_of(name, each).judged(columns.stage)
        columns.update(judged, alive=False)  # a report knows no queue
    mapped = {s: c for s, c in found.stages.items() if c.grid is not None}
    return Found(found, {stage: block_squares.draw(c) for stage, c in mapped.items()})


def _worked(attempt: Attempt, told: Mapping[str, list[Data]], found: Found) -> Data:
    """Stages, maps, slowest blocks, hosts and failed blocks, from the records."""
    columns, now, alive = found.volume.stages, time.time(), is_alive(attempt)
    rows = [_stage(c, told, now, alive) for c in columns.values()]
    return {
        "stages": rows,
        "maps": [block_squares.exact(columns[s], drawn) for s, drawn in found.squares.items()],
        "slowest": columns["segment"].slowest(),
        "failures": [
            {"stage": name, **block_failure(attempt, c.stage, record)}
            for name, c in columns.items()
            for _, record in sorted(c.failed.items())
        ],
        "failed": sum(row["failed"] for row in rows),
        "hosts": list(found.volume.hosts),
        "runs": list(found.volume.runs),
    }


def _stage(found: StageColumns, told: Mapping[str, list[Data]], now: float, alive: bool) -> Data:
    """The row of a stage; wall and CPU time are this attempt's own."""
    stage, plan, summary = found.stage, found.attempt.plan, found.summary()
    cut = found.attempt.paths.cut
    own = [r for r in told.get(stage, ()) if r.get("threshold", cut) == cut]
    # A batch's result has the CPU time of its start-up too, but that of its last try only.
    told_s = sum(r.get("cpu_s") or 0 for r in own)
    cpu_s = max(summary.cpu_s or 0.0, told_s) if summary.own else None
    return {
        **found.row(now, is_alive=alive),
        "seconds": None if summary.seconds is None else round(summary.seconds, 3),
        "cpu_s": None if cpu_s is None else round(cpu_s, 3),
        "expected_cpu_s": plan.work[stage].cpu_s or None if stage in plan.work else None,
    }


def _before_at(attempt: Attempt) -> AttemptPaths | None:
    """As `attempt_before`; where that had several thresholds, at this one."""
    before = attempt_before(attempt)
    fixed = attempt.plan.threshold.value
    if before is None or attempt.plan.cuts or fixed is None:
        return before
    at = before.at(text_of(fixed))
    return at if at.report.is_file() else before


def earlier(attempt: Attempt) -> Data | None:
    """What the attempt before found, where this one had nothing to do: nothing has changed since.

    Its pictures are taken over, too. None where that attempt wasn't verified, or was another's:
    then the records tell.
    """
    before = _before_at(attempt)
    if before is None:
        return None
    with suppress(OSError, ValueError, KeyError):
        found: Data = json_object(before.report.read_bytes())
        same = {
            "format": FORMAT, "state": "verified", "asked": list(attempt.plan.stages),
            "fingerprints": asdict(attempt.plan.fingerprints),
        }  # fmt: skip
        is_same = all(found.get(name) == value for name, value in same.items())
        if is_same and found["volume"]["digest"] == attempt.plan.input_digest:
            _take_pictures(before, attempt.paths)
            names = ("stages", "maps", "slowest", "failures", "failed", "hosts", "runs")
            worked = {name: found[name] for name in names}
            for stage in worked["stages"]:
                stage["before"] = stage["done"] + stage["empty"]
                stage |= {**NOTHING_OWN, "seconds": None}
            return worked
    return None


def _take_pictures(before: AttemptPaths, paths: AttemptPaths) -> None:
    pairs = (
        (before.preview, paths.preview),
        (before.shapes, paths.shapes),
        (before.shapes_picture, paths.shapes_picture),
    )
    for found, place in pairs:
        if found.is_file():
            files.write_atomic(place, found.read_bytes())
