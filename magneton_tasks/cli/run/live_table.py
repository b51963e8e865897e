"""The live table of a run on a terminal: `rich.progress` with a column for each figure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

from magneton_tasks.cli.console import say
from magneton_tasks.cli.run.live import Display, Row, cells
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan

#: Seconds between two looks at the workers' memory, and between two drawings.
_LOOK_S = 1.0
_DRAW_S = 0.2
#: Characters of the columns; of those whose text changes its length, so that the table doesn't jump.
_WIDTHS = {
    "stage": 10, "done": None, "pending": None, "running": None, "failed": None, "total": None,
    "Mvoxel/s": None, "time": 10, "left": 10, "memory": 9, "largest worker": 22,
}  # fmt: skip
#: Terminals narrower than this (characters) do without the time, and without the bar.
_WIDE, _WIDE_FOR_BAR = 112, 136
_BAR = "bar"


class _Figure(ProgressColumn):
    """One column of `cells`."""

    def __init__(self, name: str) -> None:
        justify: Literal["left", "right"] = "left" if name == "stage" else "right"
        column = Column(name, justify=justify, no_wrap=True, min_width=_WIDTHS[name])
        super().__init__(column)
        self.name = name

    def render(self, task: Task) -> Text:
        """The figure of a stage."""
        return Text(task.fields["cells"][self.name], style=task.fields["style"])


class StageTable(Progress):
    """A row per stage, below the columns' names."""

    def __init__(self, rows: Sequence[Row], console: Console, caption: str) -> None:
        self.rows, self.caption, self._terminal = rows, caption, console
        self._columns: dict[str, ProgressColumn] = {name: _Figure(name) for name in _WIDTHS}
        self._columns[_BAR] = BarColumn(16)
        super().__init__(console=console, auto_refresh=False)
        self.show(rows)

    def show(self, rows: Sequence[Row]) -> None:
        """Have these rows, in place of those there are."""
        for task in list(self.task_ids):
            self.remove_task(task)
        self.rows = rows
        for row in rows:  # each of them draws, if the table is shown
            self.add_task(row.summary.stage, **_look(row, time.time()))

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """As rich's, which has no header."""
        left_out, width = set[str](), self._terminal.width
        left_out |= {_BAR} if width < _WIDE_FOR_BAR else set()
        left_out |= {"time"} if width < _WIDE else set()
        left_out |= {"pending"} if all(row.pending is None for row in self.rows) else set()
        columns = [c for name, c in self._columns.items() if name not in left_out]
        headers = [c.get_table_column().copy() for c in columns]
        drawn = Table(*headers, box=SIMPLE, padding=(0, 1), pad_edge=False)
        drawn.caption, drawn.caption_justify = self.caption or None, "left"
        for task in tasks:
            drawn.add_row(*(column(task) for column in columns))
        return drawn

    def look(self, now: float) -> None:
        """Take over how the stages are."""
        for task, row in zip(self.task_ids, self.rows, strict=True):
            self.update(task, **_look(row, now))


def _look(row: Row, now: float) -> dict[str, Any]:
    """What rich holds of a stage."""
    done, total = row.summary.own, row.summary.todo
    return {"completed": done, "total": total, "cells": cells(row, now), "style": style(row)}


def style(row: Row) -> str:
    """Green is done, red has failures, dim is still to come."""
    if row.summary.counts["failed"]:
        return "red"
    if row.ended is not None:
        return "green" if row.summary.own >= row.summary.todo else ""
    return "dim" if row.began is None else "bold"


class LiveTable(Display):
    """A table that is redrawn while the stages run; what else is told stands above it."""

    def __init__(self, plan: Plan, on_interrupt: str) -> None:
        super().__init__(plan)
        self._console = Console()
        self._looked = self._drew = 0.0
        self._table = StageTable(list(self.rows.values()), self._console, on_interrupt)

    def add(self, plan: Plan, stage: str, work: StagePlan) -> None:
        """As of `Display`; the stage gets a row."""
        super().add(plan, stage, work)
        self._table.show(list(self.rows.values()))
        self.draw()

    def __enter__(self) -> Self:
        self._table.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._table.caption = ""
        self.draw()
        self._table.stop()

    def say(self, text: str, style: str | None = None) -> None:
        say(self._console, text, style)

    def tick(self, pids: Sequence[int]) -> None:
        """Look at the workers, and draw; does little when it's called too often."""
        now = time.monotonic()
        if self._row is None or now - self._drew < _DRAW_S:
            return
        looks = now - self._looked >= _LOOK_S
        self._row.workers(len(pids), [worker_bytes(p) for p in pids] if looks else None)
        self._looked = now if looks else self._looked
        self.draw()

    def draw(self) -> None:
        self._drew = time.monotonic()
        self._table.look(time.time())
        self._table.refresh()

    def ended(self, row: Row) -> None:
        """The table says it."""


def worker_bytes(pid: int) -> int:
    """Resident memory of a worker's largest process: a forked child shares its parent's pages."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return max(_resident_bytes(p) for p in (pid, *map(int, children)))


def _resident_bytes(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
