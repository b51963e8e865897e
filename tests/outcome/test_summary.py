"""How far a stage is: counts, speed, time left and peak, and that everybody tells the same."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from magneton_tasks.base import lease
from magneton_tasks.cli.run import live
from magneton_tasks.outcome import report
from magneton_tasks.outcome.attempt_summary import of_attempt
from magneton_tasks.outcome.block_map import BlockMap
from magneton_tasks.outcome.summary import StageSummary, planned
from magneton_tasks.work.events import Began, Ended, Event, Failed, Note, Settled, Text
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.many_blocks import CORE, plan_many

N = 8


def stage(**values: float) -> StageSummary:
    """100 blocks of a million voxels."""
    return StageSummary("segment", 100, 100, key_voxels=1e6, **values)  # type: ignore[arg-type]


def done(key: int, time: float, peak_bytes: int = 512 << 20, seconds: float = 1.0) -> Settled:
    return Settled("segment", key, "done", time, seconds, peak_bytes, key + 1, 100, "12 labels")


def failed(key: int, time: float, *, before: bool = False) -> Failed:
    return Failed("segment", key, 65, "affinity nan", time=time, seconds=1.0, before=before)


def left_s(found: StageSummary, now: float) -> float | None:
    return found.left_s(now, is_alive=True)


# ------------------------------------------------------------------ the figures
def test_speed_and_time_left_come_from_the_pace_so_far() -> None:
    found = stage()
    for key in range(20):
        found.take(done(key, 1001.0 + key))
    assert found.done == 20
    assert found.voxels_per_s == pytest.approx(1e6)  # 20 million in 20 s
    assert left_s(found, 1020.0) == pytest.approx(80.0)
    # no block for 10 s: the time goes on, it doesn't stand still
    assert left_s(found, 1030.0) == pytest.approx(70.0)
    # one is overdue: it will take its time at least
    assert left_s(found, 2000.0) == pytest.approx(1.0)
    assert found.left_s(1020.0, is_alive=False) is None  # nobody works on it


def test_blocks_whose_records_follow_a_file_that_they_share_count_from_when_they_began() -> None:
    found = stage()
    for key in range(2):  # of a second each; the file came 8 s after the first was begun
        told = done(key, 1010.0)
        found.take(replace(told, began=1002.0 + key))
    assert found.began == 1002.0 and found.seconds == 8.0
    assert found.voxels_per_s == pytest.approx(2e6 / 8)


def test_failed_blocks_take_time_but_make_no_voxels() -> None:
    found = stage()
    found.take(done(0, 1010.0, seconds=10.0))
    found.take(failed(1, 1020.0))
    assert found.counts == {"done": 1, "failed": 1}
    assert found.voxels_per_s == pytest.approx(1e6 / 20)
    assert left_s(found, 1020.0) == pytest.approx(98 * 10)


def test_a_second_try_mends_a_failure() -> None:
    found = stage()
    found.take(failed(7, 1001.0))
    found.take(failed(7, 1002.0, before=True))
    assert (found.done, found.counts["failed"], found.left) == (0, 1, 99)
    found.take(done(7, 1003.0))
    assert (found.done, found.counts["failed"], found.left) == (1, 0, 99)


def test_an_empty_block_is_done() -> None:
    found = stage()
    found.take(Settled("apply", 3, "empty", 1001.0, 0.0, 2**20, 1, 2))
    assert (found.done, found.counts["empty"]) == (1, 1)


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
    found = stage()
    found.take(event)
    assert (found.done, found.counts["failed"], found.settled_at) == (0, 0, None)


def test_before_the_first_block_the_plan_tells_the_time_left() -> None:
    found = stage(expected_s=60.0)
    assert left_s(found, 1000.0) == 60.0
    found.add("running", 0, is_own=True, time=1000.0)
    assert left_s(found, 1010.0) == pytest.approx(50.0)
    assert found.voxels_per_s is None
    assert left_s(found, 1100.0) is None  # the plan was wrong: nothing tells
    assert left_s(stage(), 1001.0) is None


def test_what_others_made_counts_and_tells_nothing_of_this_attempt_s_speed() -> None:
    found = StageSummary("segment", 100, 60, key_voxels=1e6)
    for key in range(40):
        found.add("done", key, is_own=False, time=10.0 + key, seconds=1.0, peak_bytes=key)
    assert (found.done, found.before, found.left) == (40, 40, 60)
    assert (found.voxels_per_s, found.settled_at) == (None, None)
    assert (found.peak_bytes, found.peak_key) == (39, 39)
    found.take(done(40, 1001.0))
    assert (found.done, found.before, found.left) == (41, 40, 59)
    assert found.voxels_per_s == pytest.approx(1e6)


# ------------------------------------------------------------------ everybody tells the same
#: what each of them shows
FIGURES = ("done", "empty", "failed", "running", "before", "voxels_per_s", "left_s", "peak_bytes")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> volumes.Run:
    """Four blocks were done before; of the others one is done, one empty, one failed, one runs."""
    earlier = plan_many(tmp_path, (2, 2, 2), run="earlier")
    write(earlier, [done(k, earlier.plan.created + k, 3 << 30) for k in range(4)])
    volumes.release(earlier)
    found = volumes.plan_run(Path(earlier.plan.config_path), run="test")
    assert found.plan.work["segment"].todo == [(4, 8)]
    with found.attempt.manifest("segment").writer("test", "segment", 0) as writer:
        writer.add(7, "started", attempt=1)
    monkeypatch.setattr(time, "time", lambda: found.plan.created + 20.0)
    return found


def write(run: volumes.Run, events: list[Settled | Failed]) -> None:
    """The records that a worker writes which tells this."""
    attempt = run.attempt
    folder = attempt.work.records("segment", attempt.plan.fingerprints.of("segment"))
    folder.mkdir(parents=True, exist_ok=True)
    usual = {"run": attempt.name, "attempt": attempt.plan.attempt, "host": "node"}
    with open(folder / f"{attempt.name}-segment-0-0-node-1-0.jsonl", "w") as file:
        for event in events:
            record: dict[str, Any] = {"key": event.key, "time": event.time, **usual}
            record |= {"seconds": event.seconds}
            if isinstance(event, Settled):
                source = {"input": attempt.plan.input_digest, "output": "o"}
                record |= {"state": event.state, "peak_bytes": event.peak_bytes, **source}
                record["info"] = {"n": 1, "seconds": 99.0, "peak_bytes": 9}  # a stage's own
            else:
                record |= {"state": "failed", "info": {"exit_code": 65, "cause": "x"}}
            file.write(json.dumps(record, separators=(",", ":")) + "\n")


def figures(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in FIGURES}


def test_live_table_status_block_map_and_report_tell_the_same(
    run: volumes.Run, cli: Caller
) -> None:
    began = run.plan.created
    events: list[Settled | Failed] = [
        done(4, began + 6.0, 5 << 30, seconds=5.0),
        Settled("segment", 5, "empty", began + 8.0, 2.0, 2**20, 2, 4),
        failed(6, began + 11.0),
    ]
    write(run, events)
    now, alive = time.time(), lease.holder_of(run.attempt.work.work) is not None
    assert alive
    expected = figures(of_attempt(run.attempt, "segment", is_alive=True).data(now, is_alive=True))
    assert expected == {
        "done": 5,
        "empty": 1,
        "failed": 1,
        "running": 1,
        "before": 4,
        "voxels_per_s": pytest.approx(2 * CORE**3 / 10.0),
        "left_s": pytest.approx(10.0 / 3),  # one is left, and overdue
        "peak_bytes": 5 << 30,
    }
    maps = BlockMap(run.attempt)
    maps.refresh()
    told = {
        "status": cli("status", run.plan.config_path, "--json").json["stages"],
        "block map": maps.summary["stages"],
        "report": report.collect(run.attempt)["stages"],
    }
    for who, stages in told.items():
        (segment,) = (s for s in stages if s["stage"] == "segment")
        assert figures(segment) == expected, who
    row = live.Row(planned(run.plan)["segment"], began=began)
    for event in events:
        row.summary.take(event)
    row.workers(1)
    shown = live.cells(row, now)
    line = next(
        li
        for li in cli("status", run.plan.config_path).out.splitlines()
        if li.startswith("segment ")
    )
    assert line.split()[1:9] == ["5", "1", "1", "0", "1", "0", "-", "8"]
    same = f"{shown['Mvoxel/s']} Mvoxel/s, {shown['left']} left, peak {shown['largest worker']}"
    assert line.endswith(same.partition(" of ")[0])
    # of what this run has to do
    assert (shown["done"], shown["failed"], shown["running"], shown["total"]) == (
        "2",
        "1",
        "1",
        "4",
    )
