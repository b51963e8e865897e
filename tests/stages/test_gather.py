"""Putting together what tasks left loses nothing, whatever is killed when."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from magneton_tasks.base.as_json import to_json
from magneton_tasks.clean.names import folder_of
from magneton_tasks.outcome import after_verify
from magneton_tasks.outcome.block_detail import events
from magneton_tasks.runners.arrays.job_files import JobFiles, jobs_of_tasks
from magneton_tasks.runners.arrays.progress import Progress
from magneton_tasks.stages.gather import gather, gather_records
from magneton_tasks.work import results, task_logs
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.manifest import Manifest
from tests.helpers import volumes

JOBS = {"7_0": "one\n", "7_1": "", "8_1": "==> no head\nlast, without its end"}


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """A verified run whose files lie as its processes left them; some look like a cluster's."""
    monkeypatch.setattr(after_verify, "gather", lambda _: None)
    attempt = volumes.run_pipeline(volumes.make_volume(tmp_path), parts=3).attempt
    job_files = JobFiles(attempt.paths.root, "segment", 0)
    job_files.adopt()
    job_files.save(Progress(done={0, 1, 2}))
    (job_files.folder / "job-1.sh").write_text("#!/bin/bash\n")
    for job, text in JOBS.items():
        log = attempt.paths.job_log("segment", 0, job)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
    attempt.paths.block_log("segment", 3).write_text("a block's\n")
    return attempt


def told(attempt: Attempt) -> object:
    """All that the files tell, wherever it stands."""
    logs = [attempt.paths.job_log("segment", 0, job) for job in JOBS]
    logs += [attempt.paths.block_log("segment", 3)]
    return (
        [
            {r.to_line() for r in events(attempt, stage, k)}
            for stage in attempt.plan.work
            for k in range(8)
        ],
        results.read(attempt.paths),
        [(task_logs.tail(log, 1000) or "").rstrip() for log in logs],
        {task: to_json(known) for task, known in jobs_of_tasks(attempt.paths.root)},
    )


def files_in(attempt: Attempt) -> list[Path]:
    """Files of all attempts, without what a killed writer left."""
    return sorted(p for p in attempt.work.runs.rglob("*") if p.is_file() and p.name[0] != ".")


def test_nothing_is_lost_and_doing_it_again_changes_nothing(left: Attempt) -> None:
    before = told(left)
    gather(left)
    files = sorted(left.work.work.rglob("*"))
    assert told(left) == before
    gather(left)
    assert sorted(left.work.work.rglob("*")) == files
    assert not list(left.paths.logs.rglob("7_0.log")) and not list(left.paths.jobs.rglob("owner"))


def test_a_kill_anywhere_is_mended_by_doing_it_again(left: Attempt, tmp_path: Path) -> None:
    def saved(*, back: bool = False) -> None:
        for path in [left.work.runs, *left.work.work.glob("*-*/records")]:
            copy = tmp_path / "saved" / path.relative_to(left.work.work)
            source, target = (copy, path) if back else (path, copy)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)

    def killed(n: int) -> int:
        def work() -> None:
            volumes.kill_at(n, "rename", "unlink", "rmdir")
            gather(left)

        return volumes.in_fork(work)

    before, n = told(left), 0
    saved()
    gather(left)
    after = files_in(left)
    saved(back=True)
    while killed(n := n + 1) < 0:
        assert told(left) == before, n
        gather(left)
        assert told(left) == before, n
        assert files_in(left) == after, n
        single = [p for p in left.work.work.glob("*-*/records/*") if "compact" not in p.name]
        assert len(single) <= len(left.plan.work), f"{n}: one of each stage may stay"
        saved(back=True)
    assert n > 30


def test_what_a_process_writes_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(tmp_path)
    with (
        manifest.writer("run", "segment", 0, 0) as one,
        manifest.writer("run", "segment", 0, 1) as two,
    ):
        one.add(0, "done")
        two.add(1, "done")
        gather_records(manifest, 1)
        assert len(list(tmp_path.iterdir())) == 1
        two.add(1, "invalid", after=manifest.read()[1])
        one.add(2, "done")
    states = manifest.read()
    assert [states[k].state for k in range(3)] == ["done", "invalid", "done"]


def test_a_task_that_is_done_again_counts(left: Attempt) -> None:
    gather(left)
    path = left.paths.result("segment", 0, 1)
    path.write_text('{"stage": "segment", "done": 77}')
    assert results.read(left.paths)["segment-0000-0001"]["done"] == 77
    gather(left)
    assert not path.exists()
    assert results.read(left.paths)["segment-0000-0001"]["done"] == 77
    log = left.paths.job_log("segment", 0, "9_1")
    log.parent.mkdir()
    log.write_text("of today\n")
    job_files = JobFiles(left.paths.root, "segment", 0)
    job_files.adopt()
    assert job_files.load().done == {0, 1, 2}, "its arrays are counted on"
    gather(left)
    assert task_logs.tail(log, 100) == "of today\n"
    assert task_logs.tail(left.paths.job_log("segment", 0, "7_0"), 100) == "one\n"


def test_clean_knows_every_file_of_an_attempt(left: Attempt) -> None:
    def assert_known() -> None:
        for path in left.work.runs.rglob("*"):
            if path.is_file():
                folder = folder_of(str(path.parent.relative_to(left.work.work)))
                assert folder is not None and folder.has_file(path.name), path

    assert_known()
    gather(left)
    assert_known()
