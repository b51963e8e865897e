"""Which display a run gets."""

from __future__ import annotations

import os
import sys

from magneton_tasks.cli.run.live import STOPS, Display
from magneton_tasks.plan.plan import Plan


def display(plan: Plan, on_interrupt: str = STOPS) -> Display:
    """A table on a terminal, lines elsewhere; ``on_interrupt`` says what Ctrl-C does."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        return Display(plan)
    from magneton_tasks.cli.run.live_table import LiveTable  # rich: an eighth of a second

    return LiveTable(plan, on_interrupt)
