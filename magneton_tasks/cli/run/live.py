"""What a run shows while it works: a live table on a terminal, a line per stage elsewhere.

`Row` is the model: the stage's summary, which gets the events of workers, and samples of their
memory. `Display` draws it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.cli.console import say
from magneton_tasks.outcome.summary import StageSummary, planned
from magneton_tasks.plan.plan import Plan
from magneton_tasks.work.events import Event, Failed, Note

#: Seconds between two looks at the workers' memory, and between two drawings.
_LOOK_S = 1.0
_DRAW_S = 0.2
#: Characters of columns whose text changes its length: the table shouldn't jump.
_WIDTHS = {"stage": 10, "time": 10, "left": 10, "memory": 9, "largest worker": 22}
#: What Ctrl-C does where nothing outlives the process.
STOPS = "Ctrl-C stops; finished work stays"
#: Terminals narrower than this (characters) do without a column.
_WIDE = 112


@dataclass
class Row:
    """A stage as this process sees it: its summary, and how its workers do; times in unix seconds.

    Attributes
    ----------
    limit_bytes
        What one worker may take.
    running, pending
        Workers or jobs at work; jobs that wait in a queue, None: the runner has no queue.
    now_bytes, largest_bytes
        Memory of all workers together now, and the most that one of them was seen with.
    """

    summary: StageSummary
    limit_bytes: int = 0
    began: float | None = None
    ended: float | None = None
    running: int = 0
    pending: int | None = None
    now_bytes: int = 0
    largest_bytes: int = 0

    def workers(self, running: int, worker_bytes: Sequence[int] | None = None) -> None:
        """Take in how many workers run and, where somebody looked, the memory of each."""
        self.running = min(running, self.summary.left)
        if worker_bytes is not None:
            self.now_bytes = sum(worker_bytes)
            self.largest_bytes = max([self.largest_bytes, *worker_bytes])

    def jobs(self, pending: int, running: int, done: int, now: float) -> None:
        """Take in how many jobs wait and work, and how many blocks or cells are done."""
        self.pending, self.running = pending, running
        self._catch_up(done, now)

    def end(self, now: float, *, is_done: bool) -> None:
        """The stage has ended; what isn't counted block by block is done now."""
        self.ended, self.running, self.now_bytes = now, 0, 0
        self.pending = None if self.pending is None else 0
        if is_done:
            self._catch_up(self.summary.todo, now)

    def _catch_up(self, done: int, now: float) -> None:
        """Count what no worker tells one by one."""
        if done > self.summary.own:
            began = now if self.began is None else self.began
            self.summary.add_many(done - self.summary.own, now, began)

    @property
    def peak_bytes(self) -> int:
        """The most memory that a worker took."""
        return max(self.largest_bytes, self.summary.peak_bytes or 0)

    def elapsed_s(self, now: float) -> float | None:
        """Since the stage began; None: it hasn't."""
        if self.began is None:
            return None
        return max((self.ended or now) - self.began, 0.0)


def rows_of(plan: Plan) -> dict[str, Row]:
    """The stages that a run of this plan goes through."""
    found = {}
    for stage, summary in planned(plan).items():
        found[stage] = Row(summary, plan.memory_limit if stage in plan.work else 0)
    return found


def cells(row: Row, now: float) -> dict[str, str]:
    """A row of the table, by column."""
    summary, is_alive = row.summary, row.began is not None and row.ended is None
    speed, left = summary.voxels_per_s, summary.left_s(now, is_alive=is_alive)
    elapsed, failed = row.elapsed_s(now), summary.counts["failed"]
    limit = f" of {human_bytes(row.limit_bytes)}" if row.limit_bytes else ""
    return {
        "stage": summary.stage,
        "done": f"{summary.own:,}",
        "pending": f"{row.pending:,}" if row.pending else "",
        "running": f"{row.running:,}" if row.running else "",
        "failed": f"{failed:,}" if failed else "",
        "total": f"{summary.todo:,}",
        "Mvoxel/s": f"{speed / 1e6:.2f}" if speed else "",
        "time": human_time(elapsed) if elapsed is not None else "",
        "left": human_time(left) if left is not None else "",
        "memory": human_bytes(row.now_bytes) if row.now_bytes else "",
        "largest worker": f"{human_bytes(row.peak_bytes)}{limit}" if row.peak_bytes else "",
    }


def table(rows: Mapping[str, Row], now: float, width: int, caption: str = STOPS) -> Table:
    """The live table; green is done, red has failures, dim is still to come."""
    drawn = Table(box=SIMPLE, padding=(0, 1), pad_edge=False, caption_justify="left")
    shown = [cells(row, now) for row in rows.values()]
    has_queue = any(row.pending is not None for row in rows.values())
    left_out = {*(("time",) if width < _WIDE else ()), *(() if has_queue else ("pending",))}
    names = [n for n in (shown[0] if shown else ()) if n not in left_out]
    for name in names:
        justify: Literal["left", "right"] = "left" if name == "stage" else "right"
        drawn.add_column(name, justify=justify, no_wrap=True, min_width=_WIDTHS.get(name))
    for row, values in zip(rows.values(), shown, strict=True):
        drawn.add_row(*(values[n] for n in names), style=_style(row))
    drawn.caption = caption or None
    return drawn


def _style(row: Row) -> str:
    if row.summary.counts["failed"]:
        return "red"
    if row.ended is not None:
        return "green" if row.summary.own >= row.summary.todo else ""
    return "dim" if row.began is None else "bold"


class Display:
    """Shows the stages of a plan while they run; a context manager.

    Without a terminal it prints a line per stage, and what goes wrong.
    """

    def __init__(self, plan: Plan, console: Console, on_interrupt: str = STOPS) -> None:
        self._caption = on_interrupt
        self.rows = rows_of(plan)
        self._console = console
        self._row: Row | None = None
        self._looked = self._drew = 0.0
        self._is_live = sys.stdout.isatty() and not console.is_dumb_terminal
        self._is_over = False
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._table)

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        if self._is_live:
            self._live.stop()  # draws once more

    @contextmanager
    def stage(self, stage: str) -> Iterator[Row]:
        """While a stage runs; the caller says with ``end`` that it is done."""
        self._row = row = self.rows[stage]
        row.began = row.summary.started = time.time()
        self._draw()
        try:
            yield row
        finally:
            if row.ended is None:
                row.end(time.time(), is_done=False)
            self._draw()
            if not self._is_live:
                took = human_time(row.elapsed_s(row.ended or 0) or 0)
                click.echo(f"{stage:<10} {row.summary.todo:,} in {took}")

    def take(self, event: Event) -> None:
        """Take in what a worker or the runner tells; show what whoever watches should know."""
        if self._row is not None:
            self._row.summary.take(event)
        if isinstance(event, Note):
            say(self._console, event.text, "bold" if event.level == "stopping" else None)
        elif isinstance(event, Failed) and not event.before:
            say(self._console, event.headline(), "red")

    def jobs(self, pending: int, running: int, done: int) -> None:
        """Take in how a queue stands, see `StageProgress.jobs`."""
        if self._row is not None:
            self._row.jobs(pending, running, done, time.time())
            self._draw()

    def tick(self, pids: Sequence[int]) -> None:
        """Look at the workers, and draw; does little when it's called too often."""
        now = time.monotonic()
        if self._row is None or not self._is_live or now - self._drew < _DRAW_S:
            return
        looks = now - self._looked >= _LOOK_S
        self._row.workers(len(pids), [worker_bytes(p) for p in pids] if looks else None)
        self._looked = now if looks else self._looked
        self._draw()

    def _draw(self) -> None:
        self._drew = time.monotonic()
        if self._is_live:
            self._live.refresh()

    def _table(self) -> Table:
        caption = "" if self._is_over else self._caption
        return table(self.rows, time.time(), self._console.width, caption)


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
