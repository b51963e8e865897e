"""How a run stands and what failed in it, from the results of its tasks and the records of blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from magneton_tasks.base.grid import Grid
from magneton_tasks.plan.stage_table import MAPPED
from magneton_tasks.work import results, task_logs
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.record import Record

Data = dict[str, Any]

#: What a stage's row (`summary.StageSummary.data`) says where an attempt has done nothing itself.
NOTHING_OWN: Mapping[str, Any] = {
    "own": 0, "own_failed": 0,
    **dict.fromkeys(("started", "began", "ended", "cpu_s", "voxels_per_s", "left_s")),
}  # fmt: skip


def run_state(verified: Mapping[str, Any] | None, failures: list[Data], alive: bool) -> str:
    """``verified``, ``failed``, ``running``, or ``stopped``: it ended without a word."""
    if verified is not None:
        return "failed" if verified.get("failures") else "verified"
    if alive:
        return "running"
    return "failed" if failures else "stopped"


def place_of(grid: Grid | None, key: int) -> Data:
    """Where a block or cell lies: its position in the grid and its core (voxels); None: nowhere."""
    if grid is None:
        return {"position": None, "begin_vox": None, "end_vox": None}
    core = grid.core(key)
    return {
        "position": list(grid.index3(key)),
        "begin_vox": list(core.begin),
        "end_vox": list(core.end),
    }


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
    """In the form of those of blocks (`block_failure`)."""
    names = ("key", "exit_code", "cause", "hint", "log", "host", "time")
    return {"stage": stage, **{name: failure.get(name) for name in names}}


def block_failure(attempt: Attempt, stage: str, record: Record) -> Data:
    """What a failed block's record says, and where its log lies; else where it was written."""
    runs = attempt.work.runs
    paths = task_logs.attempt_of(runs, record) or attempt.paths
    log = task_logs.log_of(runs, stage, [record]) or record.info.get("log") or paths.logs
    return {
        "key": record.key,
        **{name: record.info.get(name) for name in ("exit_code", "cause", "hint")},
        "log": str(log),
        "host": record.host,
        "time": record.time,
    }
