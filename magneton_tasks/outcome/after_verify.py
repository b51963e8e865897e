"""The step after verify: show what was found, by a preview and the report; then few files for many.

verify proves, and needs nothing of this: what draws is imported once the proof is written. Each
runner's ``magneton verify`` goes on to this step, whether or not the proof failed.
"""

from __future__ import annotations

from magneton_tasks.base import exclusive
from magneton_tasks.errors import EXIT_OK, BadDataError
from magneton_tasks.outcome import report
from magneton_tasks.stages.claims import mark_unfinished
from magneton_tasks.stages.gather import gather
from magneton_tasks.stages.loop import explain, failure_of, finish
from magneton_tasks.work import chunks, results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, Note, tell
from magneton_tasks.work.stores import segmentation


def run(attempt: Attempt, exit_code: int) -> int:
    """Show what verify has found; returns its exit code, or that of damage that the preview met.

    Parameters
    ----------
    exit_code
        verify's, whose result is written.
    """
    if exit_code == EXIT_OK and "apply" in attempt.plan.stages:
        exit_code = _preview(attempt)
        _shapes(attempt)
    _report(attempt)
    if exit_code == EXIT_OK and not attempt.paths.cut:
        _gather(attempt)
    return exit_code


def of_several(attempt: Attempt) -> None:
    """What follows once each of several thresholds is looked at: the report of all, few files for many.

    Each verify calls it at its end, and whichever finds that all have ended does it. Of two that end
    at the same time both may; then the one that is done last has seen what the other left.
    """
    told = None
    while (found := results.of_verify(attempt.paths)) != told:
        _report(attempt)
        told = found
    if told is None or told.get("failures"):
        return
    claim = attempt.paths.gathering  # two at once would take each other's files away
    if exclusive.create(claim, b""):
        try:
            _gather(attempt)
        finally:
            claim.unlink(missing_ok=True)


def _preview(attempt: Attempt) -> int:
    """Draw the preview; what can't be read turns the result of verify red, as it isn't complete."""
    try:
        _draw(attempt)
        return EXIT_OK
    except Exception as caught:
        error = explain(caught)
    mark_unfinished(attempt)
    tell(Failed.of("verify", error))
    result = results.read(attempt.paths).get("verify", {"stage": "verify"})
    finish(attempt, "verify", result | {"failures": [{"key": None, **failure_of(error)}]})
    return error.exit_code


def _draw(attempt: Attempt) -> None:
    """Draw the preview, unless the result is that of a run that was verified, preview included.

    Raises
    ------
    BadDataError
        What it shows can't be read. Where that is the output's fault its cells are invalidated.
    """
    if attempt.plan.nothing_to_do and report.earlier(attempt):
        return
    from magneton_tasks.outcome.preview import sections, write_preview  # PIL

    try:
        write_preview(attempt)
    except BadDataError:  # where only sizes or a sample were looked at, here is what they missed
        applied = attempt.require("apply", range(len(attempt.plan.geometry.cells)))
        for section in sections(attempt.plan.geometry.box):
            chunks.require_sound(attempt, segmentation(attempt), 0, section, applied)
        raise


def _shapes(attempt: Attempt) -> None:
    """Draw the largest objects in 3D; the result is what it is, whether or not that works."""
    if attempt.plan.geometry.mesh is None:
        return
    if attempt.plan.nothing_to_do and attempt.paths.shapes.is_file():
        return  # taken over, with the preview
    try:
        from magneton_tasks.outcome.shapes.draw import write_shapes  # DracoPy, PIL

        write_shapes(attempt)
    except Exception as caught:
        text = f"the objects couldn't be drawn in 3D: {type(caught).__name__}: {caught}"
        tell(Note(f"verify: WARNING: {text}", "warning"))


def _report(attempt: Attempt) -> None:
    """Write the report; the result is what it is, whether or not that works."""
    try:
        report.write_report(attempt)
    except Exception as caught:
        text = f"the report couldn't be written: {type(caught).__name__}: {caught}"
        tell(Note(f"verify: WARNING: {text}", "warning"))


def _gather(attempt: Attempt) -> None:
    """Put together what the run's tasks left; the result is what it is, whether or not that works."""
    try:
        gather(attempt)
    except Exception as caught:
        text = f"files of {attempt.work.work} couldn't be put together: {caught}"
        tell(Note(f"verify: WARNING: {text}", "warning"))
