"""One array to submit: what every batch scheduler is told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from magneton_tasks.work.paths import task_name

#: Names of jobs begin so.
PREFIX = "magneton"


@dataclass(frozen=True, slots=True)
class ArrayJob:
    """One array to submit.

    Attributes
    ----------
    parts
        Parts of the whole batch; ``indexes`` are those that this array works.
    batch
        None: the stage has no batches; the array has the index 0 alone.
    number
        Counts the arrays of the batch: with it, the name is one of its own.
    memory
        Bytes, for a job; the worker may take `worker_bytes` of it.
    running
        Indexes of this array that may work at once.
    exclude
        Nodes to keep away from, beside those of the config.
    """

    work: str
    volume: str
    run: str
    attempt: Path
    stage: str
    batch: int | None
    parts: int
    number: int
    indexes: tuple[int, ...]
    memory: int
    worker_bytes: int
    time_s: int
    running: int
    exclude: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """``segment-0003``."""
        return task_name(self.stage, self.batch)

    @property
    def name(self) -> str:
        """The same for the same work, and for no other."""
        return f"{self._stem}-{self.number}"

    @property
    def _stem(self) -> str:
        identity = json.dumps([self.work, str(self.attempt), self.run, self.task])
        digest = blake2b(identity.encode(), digest_size=6).hexdigest()
        return f"{PREFIX}-{self.task}-{digest}"

    @property
    def comment(self) -> str:
        """What tells people, and `clean`, what a job belongs to; ``work`` is last, it may hold anything."""
        return (
            f"{PREFIX} volume={self.volume} run={self.run} task={self.task} try={self.number} "
            f"work={self.work}"
        )


def run_in(comment: str, work: str) -> str | None:
    """The run that an `ArrayJob.comment` names; None if it isn't of this work directory."""
    head, _, directory = comment.partition(" work=")
    return head.partition(" run=")[2].partition(" task=")[0] if directory == work else None
