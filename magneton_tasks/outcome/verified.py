"""A run's last step: the proof of `stages.verify`, then what shows it: preview and report."""

from __future__ import annotations

from typing import Any

from magneton_tasks.errors import BadDataError
from magneton_tasks.outcome import report
from magneton_tasks.stages import verify as proving
from magneton_tasks.work import chunks
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Note, tell
from magneton_tasks.work.stores import segmentation


def run(attempt: Attempt) -> int:
    """Check the stages that were asked for, and show what was found; returns the exit code."""
    return proving.run(attempt, _preview, _report)


def verify(attempt: Attempt) -> dict[str, Any]:
    """What the volume holds; see `stages.verify.verify`."""
    return proving.verify(attempt, _preview)


def _report(attempt: Attempt, result: dict[str, Any]) -> None:
    """Write the report; the result is what it is, whether or not that works."""
    try:
        report.write_report(attempt, result)
    except Exception as caught:
        text = f"the report couldn't be written: {type(caught).__name__}: {caught}"
        tell(Note(f"verify: WARNING: {text}", "warning"))


def _preview(attempt: Attempt) -> None:
    """Draw the preview, unless the result is that of a run that was verified, preview included.

    Raises
    ------
    BadDataError
        What it shows can't be read. Where that is the output's fault its cells are invalidated.
    """
    if attempt.plan.nothing_to_do and report.earlier(attempt):
        return
    from magneton_tasks.outcome.preview import sections, write_preview  # heavy

    try:
        write_preview(attempt)
    except BadDataError:  # where only sizes or a sample were looked at, here is what they missed
        applied = attempt.require("apply", range(len(attempt.plan.geometry.cells)))
        for section in sections(attempt.plan.geometry.box):
            chunks.require_sound(attempt, segmentation(attempt), 0, section, applied)
        raise
