"""What a block map tells of an attempt, from records written by hand."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base.geometry import vec3
from magneton_tasks.outcome import (
    block_columns,
    block_detail,
    block_squares,
    block_summary,
    figures,
    page,
    report,
)
from magneton_tasks.outcome.block_columns import LETTERS, QUEUED, worst
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.page import data
from magneton_tasks.outcome.status import Status
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info
from tests.helpers import volumes
from tests.helpers.many_blocks import plan_many, write_records
from tests.helpers.records_by_hand import add

GRID = (2, 3, 4)
N = 24


@pytest.fixture
def run(tmp_path: Path) -> volumes.Run:
    """Planned, and alive as long as its lease isn't given back."""
    return plan_many(tmp_path, GRID)


def refreshed(attempt: Attempt) -> BlockMap:
    found = BlockMap(attempt)
    found.refresh()
    return found


def row(found: BlockMap, stage: str = "segment") -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {s["stage"]: s for s in found.summary["stages"]}
    return rows[stage]


def letters(found: BlockMap, stage: str = "segment") -> str:
    return found.columns[stage].states.decode()


def test_of_a_run_that_goes_on(run: volumes.Run) -> None:
    found = refreshed(run.attempt)
    assert letters(found) == "q" * N
    assert found.summary["state"] == "running"
    assert row(found)["left_s"] > 0, "as planned, while nothing is done"
    digest = run.attempt.plan.input_digest
    add(run.attempt, "segment", 0, "started")
    add(run.attempt, "segment", 1, "done", input=digest, output="x", seconds=2.0, peak_bytes=2**20)
    add(run.attempt, "segment", 2, "empty", input=digest, output="x")
    add(run.attempt, "segment", 3, "failed", info={"cause": "boom", "exit_code": 65})
    found.refresh()
    assert letters(found) == "rdef" + "q" * (N - 4)
    assert row(found)["layers"] == [{"r": 1, "d": 1, "e": 1, "f": 1, "q": 8}, {"q": 12}]
    assert [f["cause"] for f in row(found)["failures"]] == ["boom"]
    assert [r["key"] for r in row(found)["running_now"]] == [0]
    assert row(found)["peak_bytes"] == 2**20


def test_a_refresh_tells_what_a_first_look_tells(run: volumes.Run) -> None:
    """Failed blocks that are done now, and done ones that were made invalid."""
    found, digest = refreshed(run.attempt), run.attempt.plan.input_digest
    for state in ("started", "failed", "started", "done", "invalid"):
        values = {"input": digest, "output": "x"} if state == "done" else {}
        add(run.attempt, "segment", 5, state, **values)
        found.refresh()
        fresh = refreshed(run.attempt)
        assert letters(found) == letters(fresh), state
        without = {k: v for k, v in found.summary.items() if k != "version"}
        clocks = ("voxels_per_s", "left_s")
        for summary in (without, fresh.summary):
            for stage in summary["stages"]:
                stage |= dict.fromkeys(clocks)
            summary["left_s"] = None
        assert without == {k: v for k, v in fresh.summary.items() if k != "version"}


def test_once_nothing_works_on_it_queued_and_running_are_missing(run: volumes.Run) -> None:
    add(run.attempt, "segment", 0, "started")
    found = refreshed(run.attempt)
    assert letters(found) == "r" + "q" * (N - 1)
    volumes.release(run)
    found.refresh()
    assert letters(found) == "m" * N
    assert found.summary["state"] == "stopped"
    assert found.summary["left_s"] is None


def test_what_isnt_asked_for_isnt_queued(tmp_path: Path) -> None:
    run = plan_many(tmp_path, GRID)
    attempt = replace(run.attempt, plan=replace(run.plan, stages=("segment",)))
    found = refreshed(attempt)
    assert found.columns["pool"].states == b"m"
    assert not row(found, "pool")["asked"]


def test_nothing_new_is_not_read_again(run: volumes.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = refreshed(run.attempt)
    version = found.summary["version"]
    monkeypatch.setattr(block_summary, "summarise", None)
    found.refresh()
    assert found.summary["version"] == version


def test_a_layer(run: volumes.Run) -> None:
    write_records(run.attempt, "segment", N, lambda k: {"seconds": 1.23456, "peak_bytes": 2**30})
    layer = refreshed(run.attempt).layer("segment", 1)
    assert layer["states"] == "d" * 12
    assert layer["shape"] == [3, 4]
    assert (layer["z"], layer["layers"]) == (1, 2)
    assert set(layer["seconds"]) == {1.23}
    assert set(layer["peak_mib"]) == {1024}
    assert layer["labels"][0] == 12 * 31
    assert [len(c) for c in layer["cuts"]] == [3, 4, 5]
    assert refreshed(run.attempt).layer("segment", 99)["z"] == 1
    with pytest.raises(KeyError):
        refreshed(run.attempt).layer("pool", 0)


def test_many_blocks_of_a_layer_become_fewer_squares(
    run: volumes.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_squares, "MOST_OF_LAYER", 4)

    def record(key: int) -> dict[str, Any]:
        if key == 5:
            return {"state": "failed"}
        return {"seconds": float(key), "peak_bytes": key * 2**20, "info": {"n": key}}

    write_records(run.attempt, "segment", N, record)
    layer = refreshed(run.attempt).layer("segment", 0)
    assert layer["factor"] == [1, 2, 2]
    assert layer["shape"] == [2, 2]
    assert layer["cuts"][2] == [0, 24, 48]
    # 0 1 | 2 3
    # 4 F | 6 7
    # 8 9 | 10 11
    assert layer["states"] == "fddd"
    assert layer["seconds"][1] == 4.5
    assert layer["peak_mib"][1:] == [7, 9, 11]
    assert layer["labels"][1] == 2 + 3 + 6 + 7


def test_squares_and_the_worst_of_them() -> None:
    squares = block_squares.squares
    assert list(squares(vec3((1, 2, 3)), vec3((1, 2, 2)), 0)) == [[0, 1, 3, 4], [2, 5]]
    assert list(squares(vec3((3, 1, 2)), vec3((2, 1, 2)), 0)) == [[0, 1, 2, 3]]
    assert list(squares(vec3((3, 1, 2)), vec3((2, 1, 2)), 1)) == [[4, 5]]
    assert worst(b"dem") == "m"
    assert worst(b"fdr") == "f"


def test_histogram() -> None:
    values = [*map(float, range(1000)), 1e9, math.nan]
    found = block_summary.histogram(values)
    assert found is not None
    assert sum(found["counts"]) == 1001
    assert found["most"] == 1e9, "one far away doesn't squeeze the others into one bar"
    assert min(found["counts"]) > 30
    assert block_summary.histogram([math.nan]) is None
    assert block_summary.histogram([2.0, 2.0]) == {
        "low": 2.0,
        "width": 0.0,
        "counts": [2],
        "most": 2.0,
    }


def test_all_events_of_one_block(run: volumes.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files, whatever the pieces in which they are read, and no other block's."""
    write_records(run.attempt, "segment", N, lambda _: {})
    add(run.attempt, "segment", 2, "started")
    add(run.attempt, "segment", 2, "failed", info={"cause": "boom"})
    add(run.attempt, "segment", 22, "started")
    for piece in (8 << 20, 700, 150):
        monkeypatch.setattr(block_detail, "_READ_BYTES", piece)
        found = block_detail.events(run.attempt, "segment", 2)
        assert [r.state for r in found] == ["done", "started", "failed"], piece
    told = block_detail.detail(run.attempt, "segment", 2)
    assert told["begin_vox"] == [0, 0, 24]
    assert told["tries"][-1]["cause"] == "boom"
    with pytest.raises(KeyError):
        block_detail.detail(run.attempt, "segment", N)


def test_the_end_of_a_log(run: volumes.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_detail, "LOG_BYTES", 20)
    log = run.attempt.paths.block_log("segment", 1)
    log.parent.mkdir(exist_ok=True)
    log.write_text("a long first line\nthe last lines\n")
    add(run.attempt, "segment", 1, "failed", info={"log": str(log)})
    assert block_detail.log_tail(run.attempt, "segment", 1) == "...\nthe last lines\n"
    assert block_detail.log_tail(run.attempt, "segment", 0) is None


def test_the_log_of_a_block_that_a_job_did(run: volumes.Run) -> None:
    log = run.attempt.paths.job_log("segment", 0, "12_3")
    log.parent.mkdir(parents=True)
    log.write_text("all is well\n")
    add(run.attempt, "segment", 1, "done", batch=0, job="12_3")
    assert block_detail.log_tail(run.attempt, "segment", 1) == "all is well\n"
    assert block_detail.detail(run.attempt, "segment", 1)["tries"][-1]["job"] == "12_3"


def test_page_report_and_status_name_one_log_of_a_failure(run: volumes.Run) -> None:
    """That of the job that failed; what the record names isn't there."""
    log = run.attempt.paths.job_log("segment", 0, "12_3")
    log.parent.mkdir(parents=True)
    log.write_text("boom\n")
    info: Info = {"cause": "boom", "log": "/nowhere/gone.log"}
    add(run.attempt, "segment", 1, "failed", batch=0, job="12_3", info=info)
    status = Status(Path(run.attempt.plan.config_path), None)
    told = [
        row(refreshed(run.attempt))["failures"],
        report.collect(run.attempt)["failures"],
        next(s for s in status.stages if s.stage == "segment").failures,
    ]
    assert [[(f["key"], f["log"]) for f in each] for each in told] == [[(1, str(log))]] * 3


@pytest.mark.parametrize(("script", "table"), [("squares.js", "STATES"), ("legend.js", "COUNTED")])
def test_the_page_names_the_letters_of_states_as_the_columns_do(script: str, table: str) -> None:
    text = (Path(page.__file__).parent / script).read_text()
    found = re.search(rf"const {table} = {{(.*?)}};", text, re.DOTALL)
    assert found is not None
    told = dict(re.findall(r'(\w): "(\w+)', found[1]))
    assert told == {letter: kind for kind, letter in LETTERS.items()} | {QUEUED: "queued"}


def test_a_figure_that_is_listed_is_shown_wherever_blocks_are(
    run: volumes.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Map, detail, lists and report: with a line in `figures.FIGURES` and none elsewhere."""
    waits = figures.Figure("waited_s", "waited", "s", lambda r: r.cpu_s and r.cpu_s / 2, max)
    for module in (figures, block_columns, block_squares):
        monkeypatch.setattr(module, "FIGURES", (*figures.FIGURES, waits))
    write_records(run.attempt, "segment", N, lambda k: {"seconds": 9.0, "cpu_s": 2.0 * k})
    found = refreshed(run.attempt)
    columns = found.columns["segment"]
    assert found.layer("segment", 0)["waited_s"] == [float(k) for k in range(12)]
    drawn = block_squares.draw(columns)
    assert block_squares.exact(columns, drawn)["waited_s"] == [float(k) for k in range(N)]
    assert [b["waited_s"] for b in columns.slowest()] == [
        float(b["key"]) for b in columns.slowest()
    ]
    assert block_detail.detail(run.attempt, "segment", 3)["tries"][-1]["waited_s"] == 3.0
    told = {f["map_name"]: f["word"] for f in data.facts(run.attempt)["figures"]}
    assert set(told) <= set(found.layer("segment", 0)) and told["waited_s"] == "waited"
