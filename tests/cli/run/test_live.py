"""The live table: what it shows of a run, and where."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pexpect
import pytest
from rich.console import Console

from magneton_tasks.cli.run import live
from magneton_tasks.cli.run.live_table import LiveTable, StageTable, worker_bytes
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.work.events import Failed, Settled
from tests.helpers.volumes import make_volume, plan_run, release

EXACT = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "pool": {},
    "block": {"size": [20, 32, 32]},
}


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


def drawn(rows: list[live.Row], now: float, width: int) -> list[str]:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=width, record=True, file=nowhere)
        table = StageTable(rows, console, live.STOPS)
        table.look(now)
        console.print(table.get_renderable())
        return console.export_text().splitlines()


def test_the_table_shows_each_figure() -> None:
    row = stage()
    for key in range(20):
        row.summary.take(done(key, 1001.0 + key))
    row.summary.take(Failed("segment", 20, 65, "affinity nan", time=1020.0, seconds=1.0))
    row.workers(2, [2**28, 2**28])
    shown = drawn([row, live.Row(StageSummary("verify", 1, 1))], 1020.0, 160)
    header, line = (next(s for s in shown if s.strip().startswith(w)) for w in ("stage", "segment"))
    assert header.split() == [*["stage", "done", "running", "failed", "total", "Mvoxel/s"], *HEADER]
    figures = "segment 20 2 1 100 1.00 20 s 1 min 15 s 512.0 MiB 512.0 MiB of 1.0 GiB"
    bar = line.split()[-1]
    assert set(bar) <= {"\u2501", "\u2578", "\u257a"}
    assert line.split()[:-1] == figures.split()
    assert any("Ctrl-C stops" in s for s in shown)


HEADER = ["time", "left", "memory", "largest", "worker"]


def test_the_columns_are_those_that_the_terminal_has_room_for() -> None:
    def names(row: live.Row, width: int) -> set[str]:
        shown = drawn([row], 1001.0, width)
        return set(next(s for s in shown if s.strip().startswith("stage")).split())

    row = stage()
    assert names(row, 130) - names(row, 111) == {"time"}
    assert "pending" not in names(row, 130)
    row.jobs(3, 1, 0, 1000.0)
    assert "pending" in names(row, 130)


def test_rounds_get_their_rows_once_they_are_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws as on a terminal
    monkeypatch.setenv("TERM", "xterm")
    run = plan_run(make_volume(tmp_path, settings=EXACT))
    with io.StringIO() as told, redirect_stdout(told), LiveTable(run.plan, live.STOPS) as shown:
        for stage in ("round0", "cut", "round1"):
            shown.add(run.plan, stage, StagePlan(3, [(0, 3)], 1))
        shown.draw()
        last = re.sub(r"\x1b\[[0-9;]*m", "", told.getvalue()).rsplit("stage ", 1)[-1]
    release(run)
    rows = [line.split()[:2] for line in last.splitlines()]
    names = ("segment", "faces", "round0", "round1", "pool", "cut", "apply", "verify")
    assert [row[0] for row in rows if row and row[0] in names] == list(names)
    assert ["cut", "0"] in rows and list(shown.rows) == list(names)


def test_a_run_without_a_terminal_imports_nothing_that_draws() -> None:
    code = (
        "import sys; from magneton_tasks.cli.run import containers, displays, here, jobs\n"
        "from types import SimpleNamespace as plan\n"
        "with displays.display(plan(work={}, memory_limit=0, geometry=None, cuts=())) as shown: shown.say('x')\n"
        "print([m for m in sys.modules if m.partition('.')[0] == 'rich'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["x", "[]"]


@pytest.mark.usefixtures("warm")
def test_a_run_on_a_terminal_draws_a_row_for_each_stage(tmp_path: Path) -> None:
    config = make_volume(tmp_path)
    command = ["-m", "magneton_tasks", "run", str(config)]
    environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    environ.pop(
        "COLUMNS", None
    )  # pytest's workers have one, and it counts for more than the terminal
    process = pexpect.spawn(
        sys.executable, command, env=environ, dimensions=(50, 160), timeout=300, encoding="utf-8"
    )
    process.expect(pexpect.EOF)
    process.close()
    told = str(process.before)
    assert process.exitstatus == 0, told
    last = told[told.rindex("stage ") :]
    rows = {line.split()[0]: line.split()[1:] for line in last.splitlines() if line.strip()}
    for name in ("segment", "count", "pool", "apply", "verify"):
        assert rows[name][0] == rows[name][1], told  # done, total
    assert re.search(r"segment.*(\u2501|-){16}", last), told
    assert "Ctrl-C stops" not in last  # nothing to stop any more


def test_the_memory_of_a_worker_is_that_of_its_largest_process() -> None:
    assert worker_bytes(os.getpid()) > 2**20
    assert worker_bytes(2**22 + 1) == 0  # ended
