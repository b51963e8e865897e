"""Several thresholds of one attempt: pool and verify work one after the other, and go on past a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from magneton_tasks.errors import EXIT_OK, BadDataError, worst
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


def run(attempt: Attempt, stage: str, one: RunOne) -> int:
    """A stage that isn't mapped, at each threshold; returns the exit code.

    verify ends red where one isn't complete; a stage before only if there's none to go on with.
    """
    began, found = time.time(), dict[str, dict[str, Any]]()
    codes: list[int] = []
    for each in attempt.each():
        codes.append(_at(each, stage, one))
        found[each.paths.cut] = results.read(each.paths).get(stage, {})
    result: dict[str, Any] = {
        "stage": stage,
        **_counts(found),
        **_checked(found),
        "at": found,
        "seconds": round(time.time() - began, 3),
    }
    failures = list(_failures(found))
    if failures:
        result["failures"] = failures
    finish(attempt, stage, result)
    is_over = stage == "verify" or all(code != EXIT_OK for code in codes)
    return worst(codes) if is_over else EXIT_OK


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


def _counts(found: dict[str, dict[str, Any]]) -> dict[str, int]:
    """What all of them did together: numbers of files and of what they hold add up."""
    counts: dict[str, int] = {}
    for result in found.values():
        for name in ("done", "skipped", "failed", "chunks"):
            if name in result:
                counts[name] = counts.get(name, 0) + int(result[name])
    return counts


def _checked(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How verify found out that the chunks are there (`proof.checked`), if it did so at each."""
    each = [result.get("checked") for result in found.values()]
    told = [one for one in each if one]
    if not told or len(told) < len(each):
        return {}
    how = next((one["how"] for one in told if one["how"] != "all"), "all")
    sums = {name: sum(one[name] for one in told) for name in ("chunks", "read")}
    return {"checked": {"how": how, **sums}}


def _failures(found: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, result in found.items():
        for failure in result.get("failures", ()):
            yield {**failure, "cause": f"at {name}: {failure['cause']}"}
