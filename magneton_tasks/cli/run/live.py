"""What a run shows while it works: a live table on a terminal, a line per stage elsewhere.

`StageProgress` is the model: events of workers and samples of their memory go in, figures come
out, and every time is given to it. `Display` draws it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from magneton_tasks.base.grid import ranges_len
from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.cli.console import say
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_names import STAGES
from magneton_tasks.work.events import Event, Failed, Note, Settled

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
class StageProgress:
    """How far one stage is; times in unix seconds.

    Attributes
    ----------
    total
        Blocks or cells that this run has to do.
    key_voxels
        Voxels of one of them, on average.
    expected_s
        What plan expects of the whole stage; 0: nothing.
    limit_bytes
        What one worker may take.
    now_bytes, peak_bytes
        Memory of all workers together now, and the most that one of them had.
    """

    stage: str
    total: int
    key_voxels: float = 0.0
    expected_s: float = 0.0
    limit_bytes: int = 0
    began: float | None = None
    ended: float | None = None
    done: int = 0
    failed: set[int] = field(default_factory=set)
    running: int = 0
    #: jobs that wait in a queue; None: the runner has no queue
    pending: int | None = None
    settled_at: float | None = None
    now_bytes: int = 0
    peak_bytes: int = 0

    def begin(self, now: float) -> None:
        """The stage begins."""
        self.began = now

    def take(self, event: Event) -> None:
        """Take in what a worker tells."""
        if isinstance(event, Settled):
            self.done += 1
            self.failed.discard(event.key)  # a second try mended it
            self.peak_bytes = max(self.peak_bytes, event.peak_bytes)
            self.settled_at = event.time
        elif isinstance(event, Failed) and event.key is not None:
            self.failed.add(event.key)
            self.settled_at = event.time or self.settled_at

    def workers(self, running: int, worker_bytes: Sequence[int] | None = None) -> None:
        """Take in how many workers run and, where somebody looked, the memory of each."""
        self.running = min(running, self.left) if self.left else 0
        if worker_bytes is not None:
            self.now_bytes = sum(worker_bytes)
            self.peak_bytes = max([self.peak_bytes, *worker_bytes])

    def jobs(self, pending: int, running: int, done: int, now: float) -> None:
        """Take in how many jobs wait and work, and how many blocks or cells are done."""
        self.pending, self.running = pending, running
        if done > self.done:
            self.done, self.settled_at = done, now

    def end(self, now: float, *, is_done: bool) -> None:
        """The stage has ended; what isn't counted block by block is done now."""
        self.ended, self.running, self.now_bytes = now, 0, 0
        self.pending = None if self.pending is None else 0
        if is_done:
            self.done = self.total

    @property
    def left(self) -> int:
        """Blocks or cells that are neither done nor failed."""
        return max(self.total - self.done - len(self.failed), 0)

    def elapsed_s(self, now: float) -> float | None:
        """Since the stage began; None: it hasn't."""
        if self.began is None:
            return None
        return max((self.ended or now) - self.began, 0.0)

    def voxels_per_s(self) -> float | None:
        """Up to the last block that settled; None before the first."""
        if self.began is None or self.settled_at is None or not self.done:
            return None
        return self.done * self.key_voxels / max(self.settled_at - self.began, 1e-3)

    def left_s(self, now: float) -> float | None:
        """By the pace so far; before the first block by plan. None: nothing tells."""
        if self.began is None or self.ended is not None:
            return None
        if self.settled_at is None:
            return max(self.expected_s - (now - self.began), 0.0) or None
        settled = self.done + len(self.failed)
        pace_s = (self.settled_at - self.began) / settled
        return max(self.left * pace_s - (now - self.settled_at), 0.0)


def stages_of(plan: Plan) -> dict[str, StageProgress]:
    """The stages that a run of this plan goes through."""
    voxels = plan.geometry.box.voxels
    found = {}
    for stage in STAGES:
        work = plan.work.get(stage)
        if stage == "verify":
            found[stage] = StageProgress(stage, 1)
        elif work is not None and work.todo:
            total = ranges_len(work.todo)
            found[stage] = StageProgress(
                stage,
                total,
                key_voxels=0.0 if stage == "pool" else voxels / work.total,
                expected_s=work.cpu_s / plan.workers,
                limit_bytes=plan.memory_limit,
            )
    return found


def cells(row: StageProgress, now: float) -> dict[str, str]:
    """A row of the table, by column."""
    speed, left, elapsed = row.voxels_per_s(), row.left_s(now), row.elapsed_s(now)
    limit = f" of {human_bytes(row.limit_bytes)}" if row.limit_bytes else ""
    return {
        "stage": row.stage,
        "done": f"{row.done:,}",
        "pending": f"{row.pending:,}" if row.pending else "",
        "running": f"{row.running:,}" if row.running else "",
        "failed": f"{len(row.failed):,}" if row.failed else "",
        "total": f"{row.total:,}",
        "Mvoxel/s": f"{speed / 1e6:.2f}" if speed else "",
        "time": human_time(elapsed) if elapsed is not None else "",
        "left": human_time(left) if left is not None else "",
        "memory": human_bytes(row.now_bytes) if row.now_bytes else "",
        "largest worker": f"{human_bytes(row.peak_bytes)}{limit}" if row.peak_bytes else "",
    }


def table(rows: Mapping[str, StageProgress], now: float, width: int, caption: str = STOPS) -> Table:
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


def _style(row: StageProgress) -> str:
    if row.failed:
        return "red"
    if row.ended is not None:
        return "green" if row.done >= row.total else ""
    return "dim" if row.began is None else "bold"


class Display:
    """Shows the stages of a plan while they run; a context manager.

    Without a terminal it prints a line per stage, and what goes wrong.
    """

    def __init__(self, plan: Plan, console: Console, on_interrupt: str = STOPS) -> None:
        self._caption = on_interrupt
        self.rows = stages_of(plan)
        self._console = console
        self._row: StageProgress | None = None
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
    def stage(self, stage: str) -> Iterator[StageProgress]:
        """While a stage runs; the caller says with ``end`` that it is done."""
        self._row = row = self.rows[stage]
        row.begin(time.time())
        self._draw()
        try:
            yield row
        finally:
            if row.ended is None:
                row.end(time.time(), is_done=False)
            self._draw()
            if not self._is_live:
                click.echo(
                    f"{stage:<10} {row.total:,} in {human_time(row.elapsed_s(row.ended or 0) or 0)}"
                )

    def take(self, event: Event) -> None:
        """Take in what a worker or the runner tells; show what whoever watches should know."""
        if self._row is not None:
            self._row.take(event)
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
