"""The loop of every mapped stage: skip what is done, do the rest, record each block, report."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.error_meanings import is_memory
from magneton_tasks.base.failures import bug, is_untold_bug, ours
from magneton_tasks.base.peak import own_peak_bytes
from magneton_tasks.errors import (
    EXIT_BAD_DATA,
    EXIT_CONFIG,
    EXIT_IO,
    MagnetonError,
    OutOfMemoryError,
    StoppedError,
    worst,
)
from magneton_tasks.runners.memory_advice import advice
from magneton_tasks.work import left_out
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Began, Ended, Failed, Settled, tell
from magneton_tasks.work.job import Job
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import OUT_OF_MEMORY, Failure, Info, Outcome
from magneton_tasks.work.record_writer import IMAGE_VARIABLE, Given, RecordWriter
from magneton_tasks.work.validity import is_settled, spares

#: What a retry within the same attempt doesn't try again: it lies in the attempt's own data or
#: settings. Of `FINAL_EXITS`, a missing input (66) may have been provided since.
_HOPELESS = frozenset({EXIT_BAD_DATA, EXIT_CONFIG})


#: Called with a block before it is worked on.
Begin = Callable[[int], None]
#: Works the blocks given, and yields what became of each.
Process = Callable[[list[int], Begin], Iterator[tuple[int, Outcome | Exception]]]
#: Digest of what a block or cell would be made of now: see `work.validity`.
Expected = Callable[[int], str | None]


def each(one: Callable[[int], Outcome], ready: Callable[[], object]) -> Process:
    """Works block by block, in this process.

    ``ready`` is called before the first: what isn't there is waited for once, not once a block.
    """

    def process(keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            ready()
        for key in keys:
            begin(key)
            try:
                yield key, one(key)
            except Exception as error:
                yield key, error

    return process


class Batch:
    """Works through one job and keeps account of it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.counts = {"done": 0, "empty": 0, "skipped": 0, "failed": 0}
        self.failures: list[Failure] = []
        self.peak_bytes = 0
        self.cpu_s = 0.0

    def run(self, process: Process, expected: Expected) -> int:
        """Do what isn't done yet; returns the exit code (see `errors`)."""
        began, cpu_began = time.time(), time.process_time()
        keys = self.job.keys()
        attempt, stage = self.job.attempt, self.job.stage
        manifest = attempt.manifest(stage)
        states = manifest.read(set(keys))
        part = self.job.part[0] if self.job.part else 0
        with manifest.writer(attempt.name, stage, self.job.batch, part) as writer:
            try:
                todo = [key for key in keys if not self._settled(key, states.get(key), expected)]
                self._work(todo, len(keys), states, process, writer)
            except Exception as error:  # raised outside any block
                told = advised(attempt, stage, explain(error))
                self._fail(None, told)
                tell(Failed.of(stage, told, at=attempt.named))
        self.cpu_s += time.process_time() - cpu_began
        self.peak_bytes = max(self.peak_bytes, own_peak_bytes())
        result = {
            "stage": stage,
            "batch": self.job.batch,
            "part": self.job.part,
            **self.counts,
            "seconds": round(time.time() - began, 3),
            "cpu_s": round(self.cpu_s, 3),
            "peak_bytes": self.peak_bytes,
            "failures": self.failures[:20],
        }
        finish(attempt, stage, result, self.job.batch, self.job.part)
        cause = self.failures[0]["cause"] if self.failures else None
        left_out.note(self.job, cause, is_mapped=True)
        return worst(f["exit_code"] for f in self.failures)

    def _settled(self, key: int, state: KeyState | None, expected: Expected) -> bool:
        if state is None:
            return False
        attempt, stage, record = self.job.attempt, self.job.stage, state.valid
        accepted = is_settled(stage, state) and attempt.accepts(stage, record)
        if record is not None and accepted and spares(stage, record, expected(key)):
            self.counts["skipped"] += 1
            return True
        last = state.last
        if (
            last.state == "failed"
            and attempt.is_ours(last)
            and last.info.get("exit_code") in _HOPELESS
        ):
            self.counts["failed"] += 1
            self.failures.append({"key": key, **last.info})
            code, cause = last.info["exit_code"], str(last.info.get("cause"))
            tell(
                Failed(
                    self.job.stage, key, code, cause, time=last.time, before=True, at=attempt.named
                )
            )
            return True
        return False

    def _work(
        self,
        todo: list[int],
        total: int,
        states: dict[int, KeyState],
        process: Process,
        writer: RecordWriter,
    ) -> None:
        attempt = self.job.attempt.plan.attempt
        found, began = total - len(todo), dict[int, float]()
        tell(Began(self.job.stage, self.job.batch, len(todo), found, self.job.attempt.named))

        def begin(key: int) -> None:
            self.job.check()
            began[key] = time.time()
            before = states.get(key)
            writer.add(key, "started", after=before, attempt=attempt)
            if before is not None and before.is_valid:
                writer.sync()  # a result may be written over from here on

        for passed, (key, outcome) in enumerate(process(todo, begin), found + 1):
            if isinstance(outcome, StoppedError):
                raise outcome
            given: Given = {"attempt": attempt, **_own_time(outcome, began.pop(key, time.time()))}
            if not isinstance(outcome, Exception):
                self._settle(key, outcome, states.get(key), writer, given, (passed, total))
            elif self._report(key, outcome, states.get(key), writer, given) == EXIT_IO:
                break  # the next block would meet the same full disk

    def _settle(
        self,
        key: int,
        outcome: Outcome,
        before: KeyState | None,
        writer: RecordWriter,
        given: Given,
        passed: tuple[int, int],
    ) -> None:
        """Record a result, and tell of it; ``passed``: so many of the batch, of how many."""
        peak = outcome.peak_bytes or own_peak_bytes()
        made: Given = {
            **given,
            "input": outcome.input,
            "output": outcome.output,
            "cpu_s": outcome.cpu_s,
            "peak_bytes": peak,
            "info": outcome.info,
        }
        record = writer.add(key, outcome.state, after=before, **made)
        self.counts[outcome.state] += 1
        self.peak_bytes = max(self.peak_bytes, peak)
        self.cpu_s += outcome.cpu_s or 0.0
        tell(
            Settled(
                self.job.stage,
                key,
                outcome.state,
                record.time,
                record.seconds or 0.0,
                peak,
                *passed,
                outcome.summary,
                outcome.cpu_s,
                self.job.attempt.named,
                record.began,
            )
        )

    def _report(
        self,
        key: int,
        caught: Exception,
        before: KeyState | None,
        writer: RecordWriter,
        given: Given,
    ) -> int:
        """Record a failure, and tell of it; its exit code."""
        error = advised(self.job.attempt, self.job.stage, explain(caught))
        failed: Given = {**given, "info": self._fail(key, error)}
        record = writer.add(key, "failed", after=before, **failed)
        at = self.job.attempt.named
        tell(Failed.of(self.job.stage, error, key, record.time, record.seconds, at))
        return error.exit_code

    def _fail(self, key: int | None, error: MagnetonError) -> Info:
        self.counts["failed"] += 1
        info = failure_of(error)
        if key is not None:
            log = self.job.attempt.paths.block_log(self.job.stage, key)
            if log.exists():
                info["log"] = str(log)
        self.failures.append({"key": key, **info})
        return info


def _own_time(outcome: Outcome | Exception, began: float) -> Given:
    """When a block was begun, and how long it took: until now, unless the outcome says otherwise."""
    told = Outcome("done", "") if isinstance(outcome, Exception) else outcome
    seconds = time.time() - began if told.seconds is None else told.seconds
    return {"began": round(told.began or began, 3), "seconds": round(seconds, 3)}


def explain(error: BaseException) -> MagnetonError:
    """Any exception as one of ours; what nobody foresaw is a bug, with its traceback."""
    if isinstance(error, OSError) and error.filename is not None and not is_memory(error):
        return files.writing_failed(error.filename, error)
    found = ours(error)
    if found is None or is_untold_bug(found):
        say("".join(traceback.format_exception(error)))
    return found or bug(f"{type(error).__name__}: {error}")


def advised(attempt: Attempt, stage: str, error: MagnetonError) -> MagnetonError:
    """The error; where memory ran out, with what helps this stage."""
    if isinstance(error, OutOfMemoryError):
        error.hint = advice(attempt.config, stage, attempt.plan)
    return error


def failure_of(error: MagnetonError) -> Info:
    """What a record and a result say of a failure."""
    failure = Info(exit_code=error.exit_code, cause=error.what, hint=error.hint)
    if isinstance(error, OutOfMemoryError):
        failure[OUT_OF_MEMORY] = True
    return failure


def say(line: str) -> None:
    """A line of text to stdout, at once."""
    print(line, flush=True)


def finish(
    attempt: Attempt,
    stage: str,
    result: dict[str, Any],
    batch: int | None = None,
    part: tuple[int, int] | None = None,
) -> None:
    """Write a task's result under the attempt; the last line of stdout repeats it."""
    image, cut = os.environ.get(IMAGE_VARIABLE), attempt.paths.cut
    result = result | {"image": image} if image else result
    result = result | {"threshold": cut} if cut else result
    path = attempt.paths.result(stage, batch, part[0] if part else None)
    files.write_atomic(path, json.dumps(result).encode())
    tell(Ended(result))
