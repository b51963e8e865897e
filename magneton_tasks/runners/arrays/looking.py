"""What the manifest, results and logs say of parts whose jobs have ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.grid import share
from magneton_tasks.base.json_object import json_object
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.plan.stage_table import OF_EACH
from magneton_tasks.runners.arrays.causes import PartEnd
from magneton_tasks.runners.arrays.last_words import last_advice, last_words
from magneton_tasks.runners.arrays.states import Phase, TaskState
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.left_out import failed_before
from magneton_tasks.work.paths import task_name

#: Bytes at a log's end in which its last words stand.
_TAIL_BYTES = 4000
_COUNTS = ("done", "empty", "skipped", "failed")


class Look:
    """Looks at one batch, or at a stage without batches (``batch`` None: one part).

    ``batch`` of a stage that each of several thresholds has for itself: the number of the threshold.
    """

    def __init__(self, attempt: Attempt, stage: str, batch: int | None, parts: int) -> None:
        self.attempt, self.stage, self.batch, self.parts = attempt, stage, batch, parts
        #: it has no blocks or cells, whose records tell: its result does
        self.is_whole = batch is None or stage in OF_EACH
        self._keys: list[int] = []
        if batch is not None and stage in OF_EACH:
            self.attempt = attempt.at(batch)
        elif batch is not None:
            job = Job.of_batch(attempt, stage, batch)
            self.attempt = job.attempt
            # at a threshold that has failed before there is nothing to do
            self._keys = [] if failed_before(job.attempt, stage) else job.keys()

    def keys(self, part: int) -> list[int]:
        """Blocks, groups or cells of a part."""
        begin, end = share(len(self._keys), part, self.parts)
        return self._keys[begin:end]

    def result_path(self, part: int) -> Path:
        """Where the worker of a part leaves its result."""
        if self.is_whole:
            return self.attempt.paths.result(self.stage)
        return self.attempt.paths.result(self.stage, self.batch, part)

    # -------------------------------------------------------------- what earlier tries did
    def complete(self) -> set[int]:
        """Parts that this attempt has completed already, and those that hold nothing."""
        if self.is_whole:
            return set()
        states = self.attempt.manifest(self.stage).read(set(self._keys))
        return {p for p in range(self.parts) if not self._missing(p, states, strict=True)}

    # -------------------------------------------------------------- ends
    def ends(
        self, job: str, over: Mapping[int, TaskState], is_of_memory: Callable[[str], bool]
    ) -> Iterator[PartEnd]:
        """How the parts of a job ended; waits for records that a completed one must have left.

        ``is_of_memory``: `Scheduler.tells_out_of_memory`.
        """
        states: dict[int, KeyState] = {}
        if not self.is_whole:
            keys = {k for part in over for k in self.keys(part)}
            manifest = self.attempt.manifest(self.stage)
            states = manifest.read(keys)
            late = [
                k
                for part, state in over.items()
                if state.phase is Phase.DONE
                for k in self._missing(part, states, strict=False)
            ]
            if late and manifest.wait_for(set(late), self.attempt.wait_s) != set(late):
                states = manifest.read(keys)
        for part, state in over.items():
            yield self._end(job, part, state, states, is_of_memory)

    def _end(
        self,
        job: str,
        part: int,
        state: TaskState,
        states: Mapping[int, KeyState],
        is_of_memory: Callable[[str], bool],
    ) -> PartEnd:
        completed = state.phase is Phase.DONE
        failures: list[Mapping[str, Any]] = []
        if self.is_whole:
            result = self._result(part, self.attempt.wait_s if completed else 0)
            failures = list((result or {}).get("failures", ()))
            missing = int(result is None or bool(failures))
        else:
            keys = self._missing(part, states, strict=not completed)
            missing = len(keys)
            if missing:
                failures = list(self._failures(part, keys, states))
        log = self.attempt.paths.job_log(self.stage, self.batch, f"{job}_{part}")
        tail = _tail(log) if missing and not completed else []
        said, advised = last_words(tail, is_of_memory), last_advice(tail)
        return PartEnd(
            part, job, state, missing, failures, str(log), said, advised, is_of_memory(said)
        )

    def _missing(
        self, part: int, states: Mapping[int, KeyState], *, strict: bool
    ) -> Collection[int]:
        """Keys of a part without a valid record.

        ``strict``: of this attempt. A worker that said itself that all is settled may have found
        an older record good; nobody said so of one that was lost.
        """
        found = []
        for key in self.keys(part):
            record = states[key].valid if key in states else None
            valid = record is not None and self.attempt.accepts(self.stage, record)
            if not valid or (strict and record is not None and not self.attempt.is_ours(record)):
                found.append(key)
        return found

    def _failures(
        self, part: int, keys: Iterable[int], states: Mapping[int, KeyState]
    ) -> Iterator[Mapping[str, Any]]:
        for key in keys:
            last = states[key].last if key in states else None
            if last is not None and last.state == "failed" and self.attempt.is_ours(last):
                yield {"key": key, **last.info}
        for failure in (self._result(part, 0) or {}).get("failures", ()):
            if failure.get("key") is None:
                yield failure

    def _result(self, part: int, wait_s: float) -> dict[str, Any] | None:
        path = self.result_path(part)
        with suppress(NotVisibleError, FileNotFoundError, ValueError):
            files.await_file(path, None, wait_s)
            with files.open_read(path) as file:
                return json_object(file.read())
        return None

    def forget_results(self, parts: Iterable[int]) -> None:
        """Remove the results of earlier tries: what is there after a job is its own."""
        for part in parts:
            self.result_path(part).unlink(missing_ok=True)

    # -------------------------------------------------------------- the whole
    def result(self) -> dict[str, Any]:
        """The batch's result, its parts' together, as a worker tells it."""
        if self.is_whole:
            return self._result(0, 0) or {"stage": self.stage}
        total: dict[str, Any] = {
            "stage": self.stage, "batch": self.batch, "part": None, **dict.fromkeys(_COUNTS, 0),
            "cpu_s": 0.0, "peak_bytes": 0, "failures": [],
        }  # fmt: skip
        gathered = results.gathered(self.attempt.paths)
        for part in range(self.parts):
            name = task_name(self.stage, self.batch, part)
            one = self._result(part, 0) or gathered.get(name)
            if one is None:
                continue
            for name in _COUNTS:
                total[name] += one.get(name, 0)
            total["cpu_s"] = round(total["cpu_s"] + (one.get("cpu_s") or 0.0), 3)
            total["peak_bytes"] = max(total["peak_bytes"], one.get("peak_bytes") or 0)
        return total


def _tail(log: Path) -> list[str]:
    """The lines that a log ends with; none where there is no log."""
    try:
        with files.open_read(log) as file:
            file.seek(max(log.stat().st_size - _TAIL_BYTES, 0))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
