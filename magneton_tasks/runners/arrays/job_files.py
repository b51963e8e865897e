"""What is known of a batch's jobs between waits: files beside the batch, in the attempt.

::

    <attempt>/slurm/limits.json             what the cluster allows, asked by plan
    <attempt>/slurm/slots/<n>               which batches may have jobs in the queue now
    <attempt>/slurm/halts/<task>            how somebody cancelled jobs of this batch
    <attempt>/slurm/<task>/owner            token of the try that owns the batch's jobs
    <attempt>/slurm/<task>/jobs.json        `Progress`
    <attempt>/slurm/<task>/cancelled        ids of the jobs that we cancelled ourselves, a line each
    <attempt>/slurm/<task>/job-<n>.sh       what was submitted
    <attempt>/slurm/gathered.json           once the run is verified: {task: its `Progress`}

Only the owner writes ``jobs.json``; a try that finds another's token leaves everything alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from magneton_tasks.base import files
from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.runners.arrays.progress import Progress
from magneton_tasks.work.paths import AttemptPaths, stage_of, task_name

#: A slot is free when its batch has submitted nothing for so long (s): without jobs, and with some.
SLOT_STALE_S, SLOT_DEAD_S = 1800.0, 86400.0
#: Folder of what somebody cancelled.
_HALTS = "halts"
_GATHERED = "gathered.json"


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files beside one batch."""

    attempt: Path
    stage: str
    batch: int | None

    @property
    def task(self) -> str:
        return task_name(self.stage, self.batch)

    @property
    def folder(self) -> Path:
        return folder(self.attempt) / self.task

    # -------------------------------------------------------------- the owner
    def adopt(self) -> str:
        """Make a new try the owner of the batch's jobs; its token."""
        token = uuid4().hex
        files.make_directory(self.folder)
        (folder(self.attempt) / _HALTS / self.task).unlink(missing_ok=True)
        files.write_atomic(self.folder / "owner", token.encode())
        return token

    def owner(self) -> str | None:
        """Token of the owner; None: nobody has adopted the batch yet."""
        try:
            return (self.folder / "owner").read_text().strip()
        except FileNotFoundError:
            return None

    # -------------------------------------------------------------- progress
    def load(self) -> Progress:
        text = _text(self.folder / "jobs.json") or _gathered(self.attempt).get(self.task)
        return of_json(Progress, text) if text is not None else Progress()

    def save(self, progress: Progress) -> None:
        files.write_atomic(self.folder / "jobs.json", to_json(progress))

    def cancelled(self) -> set[str]:
        """Ids of the jobs that we cancelled ourselves."""
        try:
            return set((self.folder / "cancelled").read_text().split())
        except FileNotFoundError:
            return set()

    def note_cancelled(self, jobs: list[str]) -> None:
        """Note, before it's done, that these jobs are cancelled by us."""
        known = self.cancelled() | set(jobs)
        files.write_atomic(self.folder / "cancelled", "\n".join(sorted(known)).encode())

    # -------------------------------------------------------------- somebody's deed
    def halt(self, why: str) -> None:
        """Keep batches of the stage that haven't begun from it: somebody cancelled jobs of this one."""
        directory = folder(self.attempt) / _HALTS
        files.make_directory(directory)
        files.write_atomic(directory / self.task, why.encode())

    def halted_by(self) -> tuple[str, str] | None:
        """Another batch of the stage whose jobs somebody cancelled, and how; until it's tried again."""
        directory = folder(self.attempt) / _HALTS
        for name in sorted(files.listdir(directory)):
            if name != self.task and stage_of(name) == self.stage:
                why = _text(directory / name)
                if why is not None:
                    return name, why
        return None

    # -------------------------------------------------------------- slots
    def take_slot(self, slots: int) -> bool:
        """Whether the batch may have jobs in the queue: one of ``slots`` is its own."""
        directory = folder(self.attempt) / "slots"
        files.make_directory(directory)
        names = files.listdir(directory)
        for name in names:
            if _text(directory / name) == self.task:
                os.utime(directory / name)
                return True
        for n in range(slots):
            path = directory / str(n)
            if self._is_left_behind(path):
                path.unlink(missing_ok=True)
            with suppress(FileExistsError), open(path, "x") as file:
                file.write(self.task)
                return True
        return False

    def _is_left_behind(self, slot: Path) -> bool:
        """Whether the holder of a slot was killed, and nobody follows its jobs any more."""
        modified, holder = files.modified_s(slot), _text(slot)
        if modified is None or not holder or time.time() - modified < SLOT_STALE_S:
            return False
        jobs = folder(self.attempt) / holder / "jobs.json"
        busy = jobs.is_file() and bool(of_json(Progress, jobs.read_text()).in_flight)
        return not busy or time.time() - modified > SLOT_DEAD_S

    def free_slot(self) -> None:
        """Let another batch have jobs in the queue."""
        directory = folder(self.attempt) / "slots"
        for name in files.listdir(directory):
            if _text(directory / name) == self.task:
                (directory / name).unlink(missing_ok=True)


def folder(attempt: Path) -> Path:
    """Where an attempt keeps what it knows of its jobs."""
    return AttemptPaths(attempt).jobs


def forget_halts(attempt: Path, stage: str) -> None:
    """Somebody wants the whole stage: what was cancelled before keeps no batch from it."""
    directory = folder(attempt) / _HALTS
    for name in files.listdir(directory):
        if stage_of(name) == stage:
            (directory / name).unlink(missing_ok=True)


def jobs_of_tasks(attempt: Path) -> Iterator[tuple[str, Progress]]:
    """Task and progress of each batch that has had jobs."""
    for name, text in _desks(attempt).items():
        yield name, of_json(Progress, text)


def begun(attempt: Path) -> set[str]:
    """Stages that have had jobs."""
    return {stage_of(task) for task in _desks(attempt)}


def _desks(attempt: Path) -> dict[str, str]:
    """Text of `Progress` of each task."""
    directory = folder(attempt)
    found = {name: _text(directory / name / "jobs.json") for name in files.listdir(directory)}
    # read last: what has gone since it was listed is in there
    return _gathered(attempt) | {name: text for name, text in found.items() if text is not None}


# ------------------------------------------------------------------ once the run is verified
def scripts(attempt: Path, task: str) -> list[Path]:
    """What was submitted for a task."""
    directory = folder(attempt) / task
    return [directory / n for n in files.listdir(directory) if n.startswith("job-")]


def gather(attempt: Path, *, but: str) -> None:
    """Put what is known of the jobs of all tasks into one file; of stage ``but`` it stays where it is.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error; nothing is lost.
    """
    directory = folder(attempt)
    tasks = [
        name
        for name in files.listdir(directory)
        if stage_of(name) != but and (directory / name / "owner").is_file()
    ]
    if not tasks:
        return
    known = {task: text for task, text in _desks(attempt).items() if stage_of(task) != but}
    files.write_atomic(directory / _GATHERED, json.dumps(known, indent=1).encode())
    for task in tasks:
        for name in ("jobs.json", "cancelled", "owner"):  # the owner last: it tells what is to do
            (directory / task / name).unlink(missing_ok=True)
        with suppress(OSError):  # something else lies there
            (directory / task).rmdir()


def _gathered(attempt: Path) -> dict[str, str]:
    text = _text(folder(attempt) / _GATHERED)
    return {} if text is None else dict(json.loads(text))


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
