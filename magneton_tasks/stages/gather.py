"""Few files for many tasks: what processes left one by one is put together once a run is verified.

While a run goes on, each process writes files of its own, so that none has to wait for another:
records, a result, a log; on a cluster a few a job. Verify, the last stage, holds the lease when
all of them have ended, and gathers what they left, in this attempt and in those before it.

Each file is written whole before what it was made of goes, and gathering what a kill left half
done makes the same of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.runners.arrays import job_files
from magneton_tasks.work import attempts, group_work, results, task_logs
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths


def gather(attempt: Attempt) -> None:
    """Gather what the tasks of this attempt, and of all before it, have left.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error; nothing is lost.
    """
    for each in attempt.each():
        for stage in each.plan.work:
            work = group_work.work_of(each.paths, each.plan, stage)
            gather_records(each.manifest(stage), work.batches if work is not None else 0)
    for paths in attempts.every(attempt.work):
        _gather_logs(paths)
        job_files.gather(paths.root, but="verify")
        results.gather(paths)


def gather_records(manifest: Manifest, most: int) -> None:
    """Put the files of single processes together where there are more than ``most``.

    Unlike `Manifest.compact` it keeps every record, so that a block's tries can still be told.
    """
    directory = manifest.directory
    names = [n for n in files.listdir(directory) if n.endswith(".jsonl")]
    paths = [directory / n for n in names if not n.startswith("compact-")]
    if len(paths) <= max(most, 1):
        return
    read: dict[Path, int] = {}
    files.write_atomic(manifest.next_compact(), _whole_lines(paths, read))
    late = [data for path, size in read.items() if (data := _remove(path, size))]
    if late:
        files.write_atomic(manifest.next_compact(), late)
    files.sync_directory(directory)


def _whole_lines(paths: list[Path], read: dict[Path, int]) -> Iterator[bytes]:
    """All lines of files, without those that a kill tore; ``read`` gets their sizes."""
    for path in paths:
        if not path.is_file():
            continue
        with files.open_read(path) as file:
            data = file.read()
        if b"\0" in data:
            continue  # bytes of another machine that are still on their way
        read[path] = len(data)
        whole, newline, _ = data.rpartition(b"\n")
        yield whole + newline


def _remove(path: Path, size: int) -> bytes:
    """Remove a file of records that has this size; what a process added to it meanwhile."""
    with files.open_read(path) as file:
        if files.stat_size(path) != size:
            return b""  # it is being written to: what it holds counts twice, which is no harm
        path.unlink()
        file.seek(size)
        return file.read()


def _gather_logs(paths: AttemptPaths) -> None:
    for into, blocks in groupby(task_logs.blocks_of(paths.logs), task_logs.gathered):
        task_logs.gather(blocks, into)
    jobs = paths.all_job_logs
    for task in files.listdir(jobs):
        directory = jobs / task
        if task.startswith("verify") or not directory.is_dir():
            continue  # this very process may be writing there
        scripts = job_files.scripts(paths.root, task)
        logs = [directory / name for name in files.listdir(directory) if name.endswith(".log")]
        task_logs.gather([*scripts, *logs], jobs / f"{task}.log")
