"""The live table's model: what becomes of workers' lines."""

from __future__ import annotations

import os

import pytest
from rich.console import Console

from magneton_tasks.cli.run.live import StageProgress, cells, table, worker_bytes
from magneton_tasks.work.events import Began, Ended, Event, Failed, Note, Settled, Text


def stage(**values: float) -> StageProgress:
    """100 blocks of a million voxels; begins at 1000 s."""
    progress = StageProgress("segment", 100, key_voxels=1e6, limit_bytes=2**30, **values)  # type: ignore[arg-type]
    progress.begin(1000.0)
    return progress


def done(key: int, time: float, peak_bytes: int = 512 << 20) -> Settled:
    return Settled("segment", key, "done", time, 3.0, peak_bytes, key + 1, 100, "12 labels")


def failed(key: int, time: float, *, before: bool = False) -> Failed:
    return Failed("segment", key, 65, "affinity nan", time=time, before=before)


def test_speed_and_time_left_come_from_the_pace_so_far() -> None:
    progress = stage()
    for key in range(20):
        progress.take(done(key, 1001.0 + key))
    assert progress.done == 20
    assert progress.voxels_per_s() == pytest.approx(1e6)  # 20 million in 20 s
    assert progress.left_s(1020.0) == pytest.approx(80.0)
    # no block for 10 s: the time goes on, it doesn't stand still
    assert progress.left_s(1030.0) == pytest.approx(70.0)
    assert progress.left_s(2000.0) == 0.0


def test_failed_blocks_take_time_but_make_no_voxels() -> None:
    progress = stage()
    progress.take(done(0, 1010.0))
    progress.take(failed(1, 1020.0))
    assert progress.failed == {1}
    assert progress.voxels_per_s() == pytest.approx(1e6 / 20)
    assert progress.left_s(1020.0) == pytest.approx(98 * 10)


def test_a_second_try_mends_a_failure() -> None:
    progress = stage()
    progress.take(failed(7, 1001.0))
    progress.take(failed(7, 1002.0, before=True))
    assert (progress.done, progress.failed) == (0, {7})
    progress.take(done(7, 1003.0))
    assert (progress.done, progress.failed) == (1, set())


def test_an_empty_block_is_done() -> None:
    progress = stage()
    progress.take(Settled("apply", 3, "empty", 1001.0, 0.0, 2**20, 1, 2))
    assert progress.done == 1


@pytest.mark.parametrize(
    "event",
    [
        Began("segment", 0, 8, 0),
        Note("segment: batch 0 ended with 75; trying again"),
        Ended({"stage": "segment", "done": 8}),
        Text("segment block 3: done, 12 labels, 3 s, 512.0 MiB (4/100)"),
        Failed("segment", None, 75, "stopped by SIGTERM"),
    ],
)
def test_other_events_count_nothing(event: Event) -> None:
    progress = stage()
    progress.take(event)
    assert (progress.done, len(progress.failed), progress.settled_at) == (0, 0, None)


def test_before_the_first_block_the_plan_tells_the_time_left() -> None:
    progress = stage(expected_s=60.0)
    assert progress.left_s(1010.0) == pytest.approx(50.0)
    assert progress.voxels_per_s() is None
    assert progress.left_s(1100.0) is None  # the plan was wrong: nothing tells
    assert stage().left_s(1001.0) is None


def test_memory_is_that_of_all_workers_now_and_the_most_of_one() -> None:
    progress = stage()
    progress.workers(2, [300 << 20, 500 << 20])
    assert (progress.running, progress.now_bytes, progress.peak_bytes) == (2, 800 << 20, 500 << 20)
    progress.workers(1, [100 << 20])
    assert (progress.now_bytes, progress.peak_bytes) == (100 << 20, 500 << 20)
    progress.take(done(0, 1001.0, 700 << 20))  # between two looks
    assert progress.peak_bytes == 700 << 20
    row = cells(progress, 1001.0)
    assert row["memory"] == "100.0 MiB"
    assert row["largest worker"] == "700.0 MiB of 1.0 GiB"


def test_no_more_blocks_run_than_are_left() -> None:
    progress = stage()
    for key in range(99):
        progress.take(done(key, 1001.0))
    progress.workers(8)
    assert progress.running == 1


def test_the_end_of_a_stage() -> None:
    single = StageProgress("pool", 1)
    single.begin(1000.0)
    single.workers(1, [5])
    single.end(1007.0, is_done=True)
    assert (single.done, single.running, single.now_bytes) == (1, 0, 0)
    assert single.elapsed_s(2000.0) == 7.0
    assert single.left_s(2000.0) is None
    stopped = stage()
    stopped.end(1001.0, is_done=False)
    assert stopped.done == 0


def test_the_table_shows_each_figure() -> None:
    progress = stage()
    for key in range(20):
        progress.take(done(key, 1001.0 + key))
    progress.take(failed(20, 1020.0))
    progress.workers(2, [2**28, 2**28])
    rows = {"segment": progress, "verify": StageProgress("verify", 1)}
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
