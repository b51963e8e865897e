"""The page of all volumes: where each one's newest run stands, from its files."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from magneton_tasks.airflow.pages import access
from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import BadDataError, MagnetonError
from magneton_tasks.outcome import before, current, threshold_words
from magneton_tasks.outcome.block_detail import as_json
from magneton_tasks.outcome.block_summary import has_output
from magneton_tasks.outcome.report_facts import pool_report
from magneton_tasks.outcome.run_state import results_of, run_state, stage_failures
from magneton_tasks.stages.proof import words
from magneton_tasks.work import attempts, results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import Found

Data = dict[str, Any]

_log = logging.getLogger(__name__)

#: Of a volume with partitions, the newest ones are told of.
MOST_PARTITIONS = 10


def rows(readable: Collection[str]) -> Iterator[Data]:
    """One row for each volume, or partition of a volume, whose DAG may be read.

    What can't be read is a row that says so: one volume's files mustn't hide all others.
    """
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
            "method": config.method,
            "input": config.paths.input,
            "output": config.paths.output,
            "schedule": config.schedule,
            "runners": list(config.runner.offered),
        }
        try:
            found = attempts.newest_of_each(config)
        except OSError as error:
            yield row | {"planned": None, "problem": f"the work directory can't be read: {error}"}
            continue
        if not found:
            yield row
        for one in found[:MOST_PARTITIONS]:
            yield row | _told(one)
        if len(found) > MOST_PARTITIONS:
            yield row | {"run": None, "more": len(found) - MOST_PARTITIONS}


def _told(found: Found) -> Data:
    """Where the newest run of a work directory stands, or why that can't be told."""
    try:
        run = _run(found)
        as_json(run)
        return run
    except MagnetonError as error:
        problem = str(error)
    except Exception as error:  # its files lie where others may write: they may hold anything
        _log.exception("the run in %s can't be shown", found.paths.root)
        problem = f"{found.paths.root} can't be read: {type(error).__name__}: {error}"
    planned = {"run": None, "planned": found.time_s, "problem": problem}
    with suppress(OSError, ValueError, KeyError):
        planned["run"] = run_id_of(found)
    return planned


def run_id_of(found: Found) -> str:
    """The run's own id: a directory's name is made safe for file systems."""
    with files.open_read(found.paths.plan) as file:
        return str(json_object(file.read())["run"])


def _run(found: Found) -> Data:
    """Where the newest run of a work directory stands."""
    attempt = Attempt.open(found.paths.root)
    plan, told = attempt.plan, results_of(attempt.paths)
    verified = told["verify"][0] if "verify" in told else None
    if verified is None and results.ended_s(attempt.paths) is not None:
        where = ", ".join(map(str, results.places_of_verify(attempt.paths)))
        raise BadDataError(
            f"{where} holds no result", "clear the task verify (or rerun) to write it again"
        )
    alive = verified is None and current.is_alive(attempt)
    state = run_state(verified, list(stage_failures(told)), alive)
    pool = pool_report(attempt)
    return {
        "run": plan.run,
        "attempt": plan.attempt,
        "partition": plan.partition,
        "planned": plan.created,
        "state": state,
        "proof": words(verified),
        "nothing_to_do": plan.nothing_to_do,
        "ended": results.ended_s(attempt.paths),
        "voxels": plan.geometry.box.voxels,
        "shape": list(plan.geometry.box.shape),
        "blocks": len(plan.geometry.grid),
        "method": attempt.config.method,
        "threshold": threshold_words.of_attempt(attempt),
        "before": before.told(attempt),
        "output": attempt.config.paths.output,
        "objects": pool.get("objects") if pool and state == "verified" else None,
        "can_look": has_output(attempt) is not False,
        "freed": _freed(attempt),
    }


def _freed(attempt: Attempt) -> Data | None:
    """What maintenance has freed here last."""
    with suppress(OSError, ValueError), files.open_read(attempt.work.freed) as file:
        return json_object(file.read())
    return None
