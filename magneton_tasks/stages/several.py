"""Several thresholds of one attempt: what isn't mapped over blocks works each, and goes on past a failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from magneton_tasks.errors import EXIT_OK, BadDataError, UsageError, worst
from magneton_tasks.stages.loop import failure_of, finish
from magneton_tasks.work import left_out, results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, Note, tell
from magneton_tasks.work.job import Job

#: Runs a stage that isn't mapped; returns the exit code.
RunOne = Callable[[Attempt, str], int]


def leave_out(job: Job, why: str) -> int:
    """A batch of a threshold at which a stage before has failed: nothing to do, and no failure more."""
    tell(Note(f"{job.stage}{job.attempt.named}: left out, because {why}"))
    counts = dict.fromkeys(("done", "empty", "skipped", "failed"), 0)
    result: dict[str, Any] = {
        "stage": job.stage,
        "batch": job.batch,
        "part": job.part,
        **counts,
        "failures": [],
    }
    finish(job.attempt, job.stage, result, job.batch, job.part)
    return EXIT_OK


def run_each(attempt: Attempt, stage: str, one: RunOne, number: int | None = None) -> int:
    """A stage that is a task of each threshold: of one, or (``number`` None) of all by turns.

    Returns the exit code.

    Raises
    ------
    UsageError
        There is no such threshold.
    """
    each = attempt.each()
    if number is None:
        return worst(_at(threshold, stage, one) for threshold in each)
    if number >= len(each):
        raise UsageError(
            f"{attempt.paths.root} has {len(each)} threshold{'s' * (len(each) > 1)}, and no batch {number} of {stage}",
            f"give --batch 0 to {len(each) - 1}, or none for all"
            if len(each) > 1
            else "leave --batch out",
        )
    return _at(each[number], stage, one)


def run(attempt: Attempt, stage: str, one: RunOne) -> int:
    """A stage that works once for all, at one threshold after the other; returns the exit code.

    It fails only if there's no threshold to go on with: later stages leave out what failed.
    """
    began, found = time.time(), dict[str, dict[str, Any]]()
    codes: list[int] = []
    for each in attempt.each():
        codes.append(_at(each, stage, one))
        found[each.paths.cut] = results.read(each.paths).get(stage, {})
    result = results.together(stage, found) | {"seconds": round(time.time() - began, 3)}
    finish(attempt, stage, result)
    return worst(codes) if all(code != EXIT_OK for code in codes) else EXIT_OK


def _at(attempt: Attempt, stage: str, one: RunOne) -> int:
    """The stage at one threshold; what failed there before is told by verify."""
    job, why = Job(attempt, stage), left_out.failed_before(attempt, stage)
    if why is None:
        code = one(attempt, stage)
        failures = results.read(attempt.paths).get(stage, {}).get("failures") or [{}]
        left_out.note(job, failures[0].get("cause", "") if code else None, is_mapped=False)
        return code
    error = BadDataError(
        f"the result isn't complete: {why}",
        "rerun (in Airflow: clear the task plan): what is complete stays as it is",
    )
    tell(Failed.of(stage, error, at=attempt.named))
    finish(attempt, stage, {"stage": stage, "failures": [{"key": None, **failure_of(error)}]})
    return error.exit_code
