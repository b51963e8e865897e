"""What both ways to segment a block say of it."""

from __future__ import annotations

from magneton_tasks.base.units import several
from magneton_tasks.plan.plan import digest
from magneton_tasks.work.record import Info, Outcome


def segmented(input_digest: str, info: Info, more: str = "") -> Outcome:
    """The outcome of a block whose labels are stored.

    Sizes and checksums of all its files tell the labels apart, and cost nothing more; ``more``:
    digest of what lies in files that blocks share.
    """
    output = digest(info["files"], more) if more else digest(info["files"])
    return Outcome("done", input_digest, output, info, several(info["n"], "label"))


def no_foreground(input_digest: str) -> Outcome:
    """The outcome of a block without labels."""
    return Outcome("empty", input_digest, "empty", Info(n=0), "no foreground")
