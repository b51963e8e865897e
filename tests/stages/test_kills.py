"""kill -9 at any moment: what a reader finds is whole, and the rerun gives the same voxels."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base import files
from magneton_tasks.formats.inflating import decompress
from magneton_tasks.stages import segment_overlap, signals
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Outcome
from tests.helpers import volumes
from tests.helpers.volumes import Array, Run, in_fork, kill_at

Copy = Callable[..., Path]


def assert_same(run: Run, expected: list[Array]) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(volumes.all_mips(run), expected, strict=True))


def assert_whole(config: Path) -> int:
    """Every chunk that a reader would find is whole; their number."""
    chunks = [p for p in volumes.output_files(config) if p.suffix == ".gz" and p.name[0] != "."]
    for path in chunks:
        decompress(path.read_bytes(), path, 2**24)  # checks length and CRC
    return len(chunks)


def temporaries(config: Path) -> list[Path]:
    return [p for p in volumes.output_files(config) if files.is_temporary(p.name)]


def chunk_of_output(*args: Any) -> bool:
    """Whether an os call is about a chunk of the segmentation."""
    return "segmentation" in str(args[0]) and ".gz" in str(args[0])


@pytest.mark.parametrize(
    ("stage", "call", "n"),
    [
        ("segment", "fork", 4),  # between two blocks
        ("segment", "fsync", 6),  # while a record is written
        ("count", "rename", 1),  # the pairs are written, but not in place
        ("count", "rename", 2),  # the pairs are, the sizes aren't
        ("pool", "rename", 1),
        ("pool", "rename", 2),  # the table is there, the report isn't
        ("apply", "rename", 1),
        ("apply", "fsync", 40),
    ],
)
def test_a_worker_killed_in_any_stage_is_made_good_by_the_rerun(
    stage: str, call: str, n: int, copy_of: Copy, expected: list[Array]
) -> None:
    stages = ["segment", "count", "pool", "apply"]
    config = copy_of(work=True, only=stages[: stages.index(stage)])
    run = volumes.plan_run(config)
    assert [s for s in stages if run.plan.work[s].todo] == stages[stages.index(stage) :]

    def killed() -> None:
        kill_at(n, call)
        volumes.run_stages(run, stages=[stage])

    assert in_fork(killed) == -signal.SIGKILL
    assert_whole(config)
    # the same attempt goes on
    again = volumes.run_stages(Run(run.plan, run.attempt, run.draft))
    assert again.code == 0, again.codes
    assert_same(again, expected)
    assert volumes.run_pipeline(config).plan.nothing_to_do


def test_a_killed_child_costs_its_block_alone(
    copy_of: Copy, expected: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = volumes.plan_run(copy_of())
    plain = segment_overlap.OverlapSegmentStage.one

    def die(self: Any, key: int) -> Outcome:
        if key == 4:
            kill_at(2, "rename")  # the labels are in place, their sizes not yet
        return plain(self, key)

    monkeypatch.setattr(segment_overlap.OverlapSegmentStage, "one", die)
    job = Job(run.attempt, "segment", 0)
    assert segment_overlap.run(job) == 75
    assert run.made("segment") == set(range(8)) - {4}
    assert "SIGKILL" in run.last("segment")[4].info["cause"]
    monkeypatch.undo()
    assert segment_overlap.run(job) == 0
    assert_same(volumes.run_stages(run), expected)


@pytest.mark.parametrize(
    ("call", "when"),
    [
        (
            "write",
            lambda descriptor, _: chunk_of_output(os.readlink(f"/proc/self/fd/{descriptor}")),
        ),
        ("rename", chunk_of_output),
    ],
    ids=["half written", "not yet in place"],
)
def test_a_kill_inside_the_writing_of_a_chunk_leaves_no_partial_file(
    call: str, when: Callable[..., bool], copy_of: Copy, expected: list[Array]
) -> None:
    config = copy_of(work=True)
    run = volumes.plan_run(config)

    def killed() -> None:
        plain = os.write
        if call == "write":
            # the disk takes a hundred bytes at a time
            os.write = lambda d, b: plain(d, memoryview(b)[:100] if when(d, b) else b)
        kill_at(60 if call == "write" else 12, call, when=when)
        volumes.run_stages(run, stages=["apply"])

    assert in_fork(killed) == -signal.SIGKILL
    assert temporaries(config)  # it was killed in the middle of one
    written = assert_whole(config)
    assert 0 < written < run.plan.files - 5
    again = volumes.run_pipeline(config)
    assert_same(again, expected)
    assert again.result("verify")["chunks"] == again.plan.files - 5 == assert_whole(config)


def test_killed_again_and_again_it_comes_to_the_same_end(
    copy_of: Copy, expected: list[Array]
) -> None:
    """Each process, plan included, dies at a number of writes that grows; what is done stays done."""
    config = copy_of(work=True, settings={"input.version": 2})  # all blocks, with known samples
    codes: list[int] = []
    budget = 9
    while not codes or codes[-1] != 0:

        def killed(budget: int = budget) -> int:
            kill_at(budget, "rename", "fsync")
            return volumes.run_pipeline(config, expect=None).code

        codes.append(in_fork(killed))
        assert codes[-1] in (0, -signal.SIGKILL)
        assert_whole(config)
        budget += 7
    assert len(codes) > 5
    run = volumes.run_pipeline(config)
    assert run.plan.nothing_to_do
    assert_same(run, expected)


def test_nobody_reads_what_a_killed_worker_left(copy_of: Copy, expected: list[Array]) -> None:
    """Pairs without a record, from a worker killed between the file and its records."""
    run = volumes.plan_run(copy_of(work=True, only=["segment"]))

    def killed() -> None:
        kill_at(1, "write", when=lambda _, data: b'"state":"done"' in bytes(data))
        volumes.run_stages(run, stages=["count"])

    assert in_fork(killed) == -signal.SIGKILL
    directory = run.attempt.stage_dir("count")
    assert len(list(directory.glob("pairs-*"))) == 1
    assert run.records("count") == {}
    assert_same(volumes.run_stages(run), expected)
    assert len(list(directory.glob("pairs-*"))) == 2


def test_sigterm_ends_a_worker_with_75_and_its_child_with_it(
    copy_of: Copy, expected: list[Array], tmp_path: Path
) -> None:
    run = volumes.plan_run(copy_of())
    plain = segment_overlap.OverlapSegmentStage.one

    def slow(self: Any, key: int) -> Outcome:
        if key == 3:
            (tmp_path / "child").write_text(str(os.getpid()))
            time.sleep(600)
        return plain(self, key)

    def worker() -> int:
        segment_overlap.OverlapSegmentStage.one = slow  # type: ignore[method-assign]
        signals.raise_on_signals()
        return segment_overlap.run(Job(run.attempt, "segment", 0))

    pid = os.fork()
    if pid == 0:
        os._exit(worker())
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.01)
    child = int((tmp_path / "child").read_text())
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    assert not Path(f"/proc/{child}").exists()
    # it began no further block; what was done stays
    assert run.made("segment") == {0, 1, 2}
    assert set(run.last("segment")) == {0, 1, 2, 3}
    assert "SIGTERM" in run.result("segment", 0)["failures"][0]["cause"]
    again = volumes.run_stages(run)
    assert again.result("segment", 0)["skipped"] == 3
    assert_same(again, expected)
