"""The data of the page: what Airflow serves part by part, and report.html holds whole.

::

    facts    what doesn't change: config, settings, versions, commands
    summary  how the run stands: see `block_summary`
    layers   of each stage with a map, its head and its layers: see `block_squares`
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from magneton_tasks.outcome import before, block_squares, figures
from magneton_tasks.outcome.block_columns import VolumeColumns
from magneton_tasks.outcome.block_squares import Squares
from magneton_tasks.outcome.block_summary import summarise
from magneton_tasks.outcome.current import is_alive
from magneton_tasks.outcome.report_facts import look, settings, versions, volume
from magneton_tasks.outcome.run_state import NOTHING_OWN, results_of, run_state, stage_failures
from magneton_tasks.stages.proof import words
from magneton_tasks.work.attempt import Attempt

Data = dict[str, Any]


def facts(attempt: Attempt) -> Data:
    """What doesn't change while an attempt goes on; ``made``: when this was collected, unix s."""
    plan = attempt.plan
    return {
        "made": time.time(),
        "config": plan.config_path,
        "directory": str(attempt.paths.root),
        "asked": list(plan.stages),
        "restart": plan.restart,
        "versions": versions(),
        "settings": list(settings(attempt.config)),
        "figures": figures.for_page(),
        "look": look(attempt),
        "before": before.told(attempt),
    }


def first_look(attempt: Attempt) -> Data:
    """What is known before any record is read: the run, how it stands, and what is made how."""
    plan, results = attempt.plan, results_of(attempt.paths)
    verified = results["verify"][0] if "verify" in results else None
    alive = verified is None and is_alive(attempt)
    return {
        "standing": run_state(verified, list(stage_failures(results)), alive),
        "proof": words(verified),
        "run": plan.run,
        "attempt": plan.attempt,
        "partition": plan.partition,
        "planned": plan.created,
        "volume": volume(attempt),
        "before": before.told(attempt),
    }


def whole(
    attempt: Attempt,
    found: VolumeColumns,
    drawn: Mapping[str, list[Squares]],
    alive: bool,
    verified: Mapping[str, Any] | None,
) -> Data:
    """Everything, from the records.

    Parameters
    ----------
    drawn
        The squares of all layers of each stage with a map: see `block_squares.draw`.
    alive
        Whether something works on the attempt.
    verified
        verify's result, where it isn't written yet.
    """
    layers = {s: block_squares.whole(found.stages[s], squares) for s, squares in drawn.items()}
    names = {"hosts": list(found.hosts), "runs": list(found.runs)}
    summary = {**summarise(attempt, found.stages, alive, verified), **names}
    return {"facts": facts(attempt), "summary": summary, "layers": layers}


def retold(attempt: Attempt, earlier: Data, verified: Mapping[str, Any] | None) -> Data:
    """The page of an attempt that had nothing to do, from that of the attempt before."""
    found = earlier["summary"]
    now = summarise(attempt, {}, False, verified)  # without columns, its only rows are verify's
    proved = {row["stage"] for row in now["stages"]}
    stages = [row for row in found["stages"] if row["stage"] not in proved]
    for stage in stages:
        stage["before"] = stage["done"] + stage["empty"]
        stage |= NOTHING_OWN
    kept = {name: found[name] for name in ("pool", "hosts", "runs")}
    summary = {**now, **kept, "stages": [*stages, *now["stages"]]}
    return {"facts": facts(attempt), "summary": summary, "layers": earlier["layers"]}
