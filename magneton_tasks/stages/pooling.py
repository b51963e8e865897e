"""What the pool of both methods shares: it works once, and has one record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.peak import own_peak_bytes
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.stages.loop import advised, explain, failure_of, finish, say
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, tell
from magneton_tasks.work.job import Job
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Info
from magneton_tasks.work.record_writer import RecordWriter
from magneton_tasks.work.validity import spares

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pooled:
    """What was made: what the record holds of it, and (``told``) the task's result."""

    info: Info
    told: Result
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Pooling:
    """How a method pools a volume.

    Attributes
    ----------
    made_of
        Digest of what the pool is made of; raises where that isn't complete.
    make
        Makes it; gets that digest.
    same
        What is the same as the last time, where nothing is to do.
    """

    made_of: Callable[[], str]
    make: Callable[[str], Pooled]
    same: str


def run(
    job: Job, pooling: Pooling, after: Callable[[Attempt, Result], int] = lambda *_: EXIT_OK
) -> int:
    """Pool a volume; returns the exit code.

    ``after``: what follows on a pool that is done, by its exit code; it may add to the result.
    """
    attempt, began, cpu_began = job.attempt, time.time(), time.process_time()
    manifest = attempt.manifest("pool")
    state = manifest.read({0}).get(0)
    result: Result = {"stage": "pool", "done": 0, "skipped": 0, "failed": 0}
    with manifest.writer(attempt.name, "pool", 0) as writer:
        try:
            _work(attempt, pooling, state, writer, result, (began, cpu_began))
            code = EXIT_OK
        except Exception as caught:
            error = advised(attempt, "pool", explain(caught))
            code = error.exit_code
            tell(Failed.of("pool", error, at=attempt.named))
            failure = failure_of(error)
            result |= {"failed": 1, "failures": [{"key": 0, **failure}]}
            writer.add(0, "failed", after=state, attempt=attempt.plan.attempt, info=failure)
    if code == EXIT_OK:
        code = after(attempt, result)
    result |= {"seconds": round(time.time() - began, 3), "cpu_s": _cpu_s(cpu_began)}
    finish(attempt, "pool", result | {"peak_bytes": own_peak_bytes()})
    return code


def _work(
    attempt: Attempt,
    pooling: Pooling,
    state: KeyState | None,
    writer: RecordWriter,
    result: Result,
    since: tuple[float, float],
) -> None:
    """Pool, unless that would make the same again; ``since``: when that began, by both clocks."""
    made_of = pooling.made_of()
    valid = state.valid if state else None
    if valid is not None and attempt.accepts("pool", valid) and spares("pool", valid, made_of):
        say(f"pool{attempt.named}: nothing to do, {pooling.same}")
        result["skipped"] = 1
        return
    made, (began, cpu_began) = pooling.make(made_of), since
    writer.add(
        0,
        "done",
        after=state,
        attempt=attempt.plan.attempt,
        input=made_of,
        output=made.output,
        info=made.info,
        began=round(began, 3),
        seconds=round(time.time() - began, 3),
        cpu_s=_cpu_s(cpu_began),
        peak_bytes=own_peak_bytes(),
    )
    result |= {"done": 1, **made.told}


def _cpu_s(began: float) -> float:
    return round(time.process_time() - began, 3)
