"""The report of an attempt: ``report.json`` with exact figures, ``report.html`` for people.

Collected from the records, at any time: of a run that is verified, one that failed, one that goes
on. verify writes it at its end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from math import prod
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.outcome.current import is_alive
from magneton_tasks.outcome.report_blocks import Names, StageBlocks
from magneton_tasks.outcome.report_facts import look, pool_report, settings, versions, volume
from magneton_tasks.plan.stage_names import CHOICE_OF, MAPPED, STAGES
from magneton_tasks.stages.proof import words
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import newest_first
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.states import VolumeStates, grid_of, total_of

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
    from magneton_tasks.outcome.page.report_page import render  # jinja2

    data = collect(attempt, verified)
    files.write_atomic(attempt.paths.report, json.dumps(data, separators=(",", ":")).encode())
    preview = attempt.paths.preview
    picture = preview.read_bytes() if preview.is_file() else None
    files.write_atomic(attempt.paths.page, render(data, picture).encode())


def collect(attempt: Attempt, verified: Mapping[str, Any] | None = None) -> Data:
    """What a report says, as plain data: exact numbers, units in the names.

    Parameters
    ----------
    verified
        As for :func:`write_report`.
    """
    plan, paths = attempt.plan, attempt.paths
    ended = time.time()
    results = results_of(paths)
    if verified is None and "verify" in results:
        verified, ended = results["verify"][0], paths.result("verify").stat().st_mtime
    before = earlier(attempt) if plan.nothing_to_do else None
    worked = before or _worked(attempt, results)
    failures = [*worked.pop("failures"), *stage_failures(results), *verify_failures(verified)]
    alive = verified is None and is_alive(attempt)
    pooled = any(s["stage"] == "pool" and s["done"] for s in worked["stages"])
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
        "notes": [*plan.threshold.warnings, *plan.notes],
        "failures": failures,
        "verify": dict(verified) if verified else None,
        "proof": words(verified),
        "pool": pool_report(attempt) if pooled else None,
        "look": look(attempt),
        **worked,
    }


# ------------------------------------------------------------------ what the records say
def _worked(attempt: Attempt, results: Mapping[str, list[Data]]) -> Data:
    """Stages, maps, slowest blocks, hosts and failed blocks, from the records."""
    geometry = attempt.plan.geometry
    states = VolumeStates(attempt, alive=is_alive(attempt))
    hosts, runs = Names(), Names(f"{attempt.name}/{attempt.plan.attempt}")
    worked: Data = {"stages": [], "maps": [], "slowest": [], "failures": [], "failed": 0}
    for stage in STAGES[:-1]:
        grid, total = grid_of(geometry, stage), total_of(geometry, stage)
        if not total:
            continue
        blocks = StageBlocks(attempt, stage, total, grid, hosts, runs)
        for found in states.looks(stage):
            blocks.add(found.parsed())
        figures = blocks.summary.data(time.time(), is_alive=states.alive)
        worked["stages"].append(figures | _stage(attempt, blocks, results.get(stage, [])))
        worked["failures"] += blocks.failures
        worked["failed"] += blocks.summary.counts["failed"]
        if grid is not None:
            worked["maps"].append(blocks.map())
        if stage == "segment":
            worked["slowest"] = blocks.slowest()
    return {**worked, "hosts": list(hosts), "runs": list(runs)}


def _stage(attempt: Attempt, blocks: StageBlocks, results: list[Data]) -> Data:
    """The row of a stage, beside its figures; wall and CPU time are this attempt's own."""
    stage, plan = blocks.stage, attempt.plan
    summary, memory = blocks.summary, plan.memory.get(stage)
    # A batch's result has the CPU time of its start-up too, but that of its last try only.
    told_s = sum(r.get("cpu_s") or 0 for r in results)
    cpu_s = max(summary.cpu_s or 0.0, told_s) if summary.own else None
    return {
        "asked": CHOICE_OF[stage] in plan.stages,
        "seconds": None if summary.seconds is None else round(summary.seconds, 3),
        "cpu_s": None if cpu_s is None else round(cpu_s, 3),
        "expected_cpu_s": plan.work[stage].cpu_s or None if stage in plan.work else None,
        "expected_bytes": memory.expected if memory else None,
        "bound_bytes": memory.bound if memory else None,
        "stored_bytes": None if stage in ("count", "pool") else blocks.bytes,
        "open": _open(blocks) if blocks.rows else None,
    }


def _open(blocks: StageBlocks) -> Data:
    """What blocks or groups leave open (exact method): rows of all of them together, labels joined.

    ``face_voxels`` are those of the faces with a neighbour behind them, counted on both sides.
    """
    assert blocks.grid is not None
    shape, sides = blocks.grid.shape, blocks.grid.box.shape
    faces = sum(2 * (n - 1) * prod(sides) // side for n, side in zip(shape, sides, strict=True))
    return {"face_voxels": faces, "joins": blocks.joins, **blocks.rows}


def earlier(attempt: Attempt) -> Data | None:
    """What the attempt before found, where this one had nothing to do: nothing has changed since.

    Its preview is taken over, too. None where that attempt wasn't verified, or was another's:
    then the records tell.
    """
    planned_s = attempt.paths.plan.stat().st_mtime
    others = (f for f in newest_first(attempt.work) if f.paths.root != attempt.paths.root)
    found_before = next((f for f in others if f.time_s <= planned_s), None)
    if found_before is None:
        return None
    before = found_before.paths
    with suppress(OSError, ValueError, KeyError):
        found: Data = json_object(before.report.read_bytes())
        same = {
            "format": FORMAT, "state": "verified", "asked": list(attempt.plan.stages),
            "fingerprints": asdict(attempt.plan.fingerprints),
        }  # fmt: skip
        is_same = all(found.get(name) == value for name, value in same.items())
        if is_same and found["volume"]["digest"] == attempt.plan.input_digest:
            if before.preview.is_file():
                files.write_atomic(attempt.paths.preview, before.preview.read_bytes())
            names = ("stages", "maps", "slowest", "failures", "failed", "hosts", "runs")
            worked = {name: found[name] for name in names}
            for stage in worked["stages"]:
                stage["before"] = stage["done"] + stage["empty"]
                stage |= dict.fromkeys(("began", "ended", "seconds", "cpu_s", "voxels_per_s"))
            return worked
    return None


# ------------------------------------------------------------------ state and failures
def run_state(verified: Mapping[str, Any] | None, failures: list[Data], alive: bool) -> str:
    """``verified``, ``failed``, ``running``, or ``stopped``: it ended without a word."""
    if verified is not None:
        return "failed" if verified.get("failures") else "verified"
    if alive:
        return "running"
    return "failed" if failures else "stopped"


def results_of(paths: AttemptPaths) -> dict[str, list[Data]]:
    """The results of tasks, by stage."""
    found: dict[str, list[Data]] = {}
    for result in results.read(paths).values():
        if "stage" in result:
            found.setdefault(str(result["stage"]), []).append(result)
    return found


def stage_failures(results: Mapping[str, list[Data]]) -> Iterator[Data]:
    """What failed outside any block."""
    for stage in MAPPED:
        for result in results.get(stage, ()):
            for failure in result.get("failures", ()):
                if failure.get("key") is None:
                    yield _failure(stage, failure)


def verify_failures(verified: Mapping[str, Any] | None) -> Iterator[Data]:
    for failure in (verified or {}).get("failures", ()):
        yield _failure("verify", failure)


def _failure(stage: str, failure: Data) -> Data:
    """In the form of those of blocks (`StageBlocks.failures`)."""
    names = ("key", "exit_code", "cause", "hint", "log", "host", "time")
    return {"stage": stage, **{name: failure.get(name) for name in names}}
