"""The live table's model: what becomes of workers' lines."""

from __future__ import annotations

import os

from rich.console import Console

from magneton_tasks.cli.run import live
from magneton_tasks.cli.run.live import table, worker_bytes
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.work.events import Failed, Settled


def stage(**values: float) -> live.Row:
    """100 blocks of a million voxels; begins at 1000 s."""
    summary = StageSummary("segment", 100, 100, key_voxels=1e6, **values)  # type: ignore[arg-type]
    return live.Row(summary, limit_bytes=2**30, began=1000.0)


def done(key: int, time: float, peak_bytes: int = 512 << 20) -> Settled:
    return Settled("segment", key, "done", time, 1.0, peak_bytes, key + 1, 100, "12 labels")


def test_memory_is_that_of_all_workers_now_and_the_most_of_one() -> None:
    row = stage()
    row.workers(2, [300 << 20, 500 << 20])
    assert (row.running, row.now_bytes, row.peak_bytes) == (2, 800 << 20, 500 << 20)
    row.workers(1, [100 << 20])
    assert (row.now_bytes, row.peak_bytes) == (100 << 20, 500 << 20)
    row.summary.take(done(0, 1001.0, 700 << 20))  # between two looks
    assert row.peak_bytes == 700 << 20
    shown = live.cells(row, 1001.0)
    assert shown["memory"] == "100.0 MiB"
    assert shown["largest worker"] == "700.0 MiB of 1.0 GiB"


def test_no_more_blocks_run_than_are_left() -> None:
    row = stage()
    for key in range(99):
        row.summary.take(done(key, 1001.0))
    row.workers(8)
    assert row.running == 1


def test_the_end_of_a_stage() -> None:
    single = live.Row(StageSummary("pool", 1, 1), began=1000.0)
    single.workers(1, [5])
    single.end(1007.0, is_done=True)
    assert (single.summary.done, single.running, single.now_bytes) == (1, 0, 0)
    assert single.elapsed_s(2000.0) == 7.0
    assert live.cells(single, 2000.0)["left"] == ""
    stopped = stage()
    stopped.end(1001.0, is_done=False)
    assert stopped.summary.done == 0


def test_the_table_shows_each_figure() -> None:
    row = stage()
    for key in range(20):
        row.summary.take(done(key, 1001.0 + key))
    row.summary.take(Failed("segment", 20, 65, "affinity nan", time=1020.0, seconds=1.0))
    row.workers(2, [2**28, 2**28])
    rows = {"segment": row, "verify": live.Row(StageSummary("verify", 1, 1))}
    console = Console(width=140, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(rows, 1020.0, console.width))
    console.file.close()
    shown = console.export_text().splitlines()
    line = next(s for s in shown if "segment" in s)
    assert line.split() == [
        "segment",
        "20",
        "2",
        "1",
        "100",
        "1.00",
        "20",
        "s",
        "1",
        "min",
        "15",
        "s",
        "512.0",
        "MiB",
        "512.0",
        "MiB",
        "of",
        "1.0",
        "GiB",
    ]
    assert any("Ctrl-C stops" in s for s in shown)


def test_a_narrow_terminal_goes_without_the_time() -> None:
    rows = {"segment": stage()}
    wide, narrow = (
        [str(c.header) for c in table(rows, 1001.0, width).columns] for width in (140, 90)
    )
    assert set(wide) - set(narrow) == {"time"}


def test_the_memory_of_a_worker_is_that_of_its_largest_process() -> None:
    assert worker_bytes(os.getpid()) > 2**20
    assert worker_bytes(2**22 + 1) == 0  # ended
