"""The page of all volumes: where each one's newest run stands, from its files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from magneton_tasks import files
from magneton_tasks.airflow.pages import access, attempts
from magneton_tasks.airflow.pages.attempts import Found
from magneton_tasks.errors import MagnetonError
from magneton_tasks.stages import current, threshold_words
from magneton_tasks.stages.attempt import Attempt
from magneton_tasks.stages.block_summary import has_output
from magneton_tasks.stages.proof import words
from magneton_tasks.stages.report import results_of, run_state, stage_failures
from magneton_tasks.stages.report_facts import pool_report

Data = dict[str, Any]

#: Of a volume with partitions, the newest ones are told of.
MOST_PARTITIONS = 10


def rows(readable: Collection[str]) -> Iterator[Data]:
    """One row for each volume, or partition of a volume, whose DAG may be read."""
    for volume in access.volumes():
        if volume.dag_id not in readable:
            continue
        row: Data = {
            "dag_id": volume.dag_id, "name": volume.path.stem, "path": str(volume.path),
            "problem": volume.problem, "run": None,
        }  # fmt: skip
        if volume.config is None:
            yield row
            continue
        config = volume.config
        row |= {
            "method": config.method, "input": config.paths.input, "output": config.paths.output,
            "schedule": config.schedule, "runners": list(config.runner.offered),
        }  # fmt: skip
        works = attempts.work_directories(config)
        found = [a for work in works if (a := attempts.newest(work)) is not None]
        found.sort(key=lambda a: -a.planned_s)
        if not found:
            yield row
        for one in found[:MOST_PARTITIONS]:
            yield row | _run(one)
        if len(found) > MOST_PARTITIONS:
            yield row | {"run": None, "more": len(found) - MOST_PARTITIONS}


def _run(found: Found) -> Data:
    """Where the newest run of a work directory stands."""
    try:
        attempt = Attempt.open(found.paths.root)
    except (MagnetonError, OSError, KeyError, TypeError, ValueError) as error:
        planned = {"run": None, "planned": found.planned_s, "problem": str(error)}
        with suppress(OSError, ValueError, KeyError):
            planned["run"] = attempts.run_id_of(found)
        return planned
    plan, results = attempt.plan, results_of(attempt.paths)
    verified = results["verify"][0] if "verify" in results else None
    alive = verified is None and current.is_alive(attempt)
    state = run_state(verified, list(stage_failures(results)), alive)
    pool = pool_report(attempt)
    return {
        "run": plan.run, "attempt": plan.attempt, "partition": plan.partition,
        "planned": plan.created, "state": state, "proof": words(verified),
        "nothing_to_do": plan.nothing_to_do,
        "ended": files.modified_s(attempt.paths.result("verify")),
        "voxels": plan.geometry.box.voxels, "shape": list(plan.geometry.box.shape),
        "blocks": len(plan.geometry.grid), "threshold": threshold_words.as_data(plan.threshold),
        "output": attempt.config.paths.output,
        "objects": pool["objects"] if pool and state == "verified" else None,
        "can_look": has_output(attempt.config.paths.output) is not False,
        "freed": _freed(attempt),
    }  # fmt: skip


def _freed(attempt: Attempt) -> Data | None:
    """What maintenance has freed here last."""
    with suppress(OSError, ValueError), files.open_read(attempt.work.freed) as file:
        found: Data = json.loads(file.read())
        return found
    return None
