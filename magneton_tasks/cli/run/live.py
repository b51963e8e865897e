"""What a run shows while it works: a live table on a terminal, a line per stage elsewhere.

`Row` is the model: the stage's summary, which gets the events of workers, and samples of their
memory. `Display` prints lines; `cli.run.live_table` draws on a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import click

from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.outcome.summary import StageSummary, planned
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import STAGES
from magneton_tasks.work.events import Event, Failed, Note

#: What Ctrl-C does where nothing outlives the process.
STOPS = "Ctrl-C stops; finished work stays"


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


class Display:
    """Prints a line per stage of a plan, and what goes wrong; a context manager."""

    def __init__(self, plan: Plan) -> None:
        self.rows = rows_of(plan)
        self._row: Row | None = None

    def add(self, plan: Plan, stage: str, work: StagePlan) -> None:
        """Take in what is to do of a stage whose groups weren't known before."""
        summary = StageSummary.of_groups(plan, stage, work)
        rows = self.rows | {stage: Row(summary, plan.memory_limit)}
        self.rows = {name: rows[name] for name in STAGES if name in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    @contextmanager
    def stage(self, stage: str) -> Iterator[Row]:
        """While a stage runs; the caller says with ``end`` that it is done."""
        self._row = row = self.rows[stage]
        row.began = row.summary.started = time.time()
        self.draw()
        try:
            yield row
        finally:
            if row.ended is None:
                row.end(time.time(), is_done=False)
            self.draw()
            self.ended(row)

    def take(self, event: Event) -> None:
        """Take in what a worker or the runner tells; show what whoever watches should know."""
        if self._row is not None:
            self._row.summary.take(event)
        if isinstance(event, Note):
            self.say(event.text, "bold" if event.level == "stopping" else None)
        elif isinstance(event, Failed) and not event.before:
            self.say(event.headline(), "red")

    def jobs(self, pending: int, running: int, done: int) -> None:
        """Take in how a queue stands, see `Row.jobs`."""
        if self._row is not None:
            self._row.jobs(pending, running, done, time.time())
            self.draw()

    # ------------------------------------------------------------------ how it is shown
    def say(self, text: str, style: str | None = None) -> None:
        """A line for whoever watches."""
        click.echo(text)

    def tick(self, pids: Sequence[int]) -> None:
        """The runner gives the process ids of its workers, often."""

    def draw(self) -> None:
        """Something changed."""

    def ended(self, row: Row) -> None:
        """A stage has ended."""
        took = human_time(row.elapsed_s(row.ended or 0) or 0)
        click.echo(f"{row.summary.stage:<10} {row.summary.todo:,} in {took}")
