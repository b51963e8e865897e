"""The stage commands, as runners call them: open the attempt, keep the lease, work, exit code."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

from magneton_tasks.base import lease
from magneton_tasks.base.importing import importing
from magneton_tasks.plan.stage_table import AFTER_POOL, OF_EACH, PROBE
from magneton_tasks.runners.command import is_run_by_runner
from magneton_tasks.stages import several
from magneton_tasks.stages.dispatch import run_of
from magneton_tasks.stages.loop import explain, failure_of, finish
from magneton_tasks.stages.signals import raise_on_signals
from magneton_tasks.work import lease_by_hand
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.events import Failed, tell
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.job import Job
from magneton_tasks.work.left_out import failed_before


def run_mapped(stage: str, attempt_dir: Path, batch: int, part: tuple[int, int] | None) -> int:
    """One batch, or one part of one, of a mapped stage."""
    raise_on_signals()
    attempt = _opened(stage, attempt_dir)
    with _lease(attempt) as heart:
        job = Job.of_batch(attempt, stage, batch, part, heart.check)
        if why := failed_before(job.attempt, stage):
            return several.leave_out(job, why)
        with importing():
            run = run_of(stage, attempt.config.method)
        return run(job)


def _opened(stage: str, attempt_dir: Path) -> Attempt:
    """The attempt; for what comes after pool with what pool has settled, waited for."""
    attempt = Attempt.open(attempt_dir)
    is_after = stage in (*AFTER_POOL, *OF_EACH) and "pool" in attempt.plan.stages
    return attempt.as_settled(attempt.wait_s or 1.0) if is_after and attempt.is_open else attempt


def run_groups(stage: str, attempt_dir: Path) -> int:
    """Find out which groups a stage works, and in which batches."""
    from magneton_tasks.stages.planning import group_work

    raise_on_signals()
    attempt = Attempt.open(attempt_dir)
    began, code = time.time(), 0
    result: dict[str, Any] = {"stage": stage, "groups": 0, "batches": 0}
    with _lease(attempt):
        try:
            work = group_work.prepare(attempt, stage)
            result |= {"groups": work.total, "batches": work.batches}
        except Exception as caught:
            error = explain(caught)
            code = error.exit_code
            tell(Failed.of(stage, error))
            result["failures"] = [{"key": None, **failure_of(error)}]
    finish(attempt, stage, result | {"seconds": round(time.time() - began, 3)})
    return code


def run_single(stage: str, attempt_dir: Path, number: int | None = None) -> int:
    """A stage that isn't mapped over blocks, or release.

    ``number``: of one of several thresholds, where the stage is a task of each; None: of all.
    """
    raise_on_signals()
    attempt = _opened(stage, attempt_dir)
    plan = attempt.plan
    if stage == "release":
        lease.give_back(lease_places(attempt.config, plan.thresholds), plan.run)
        return 0
    with _lease(attempt):
        if stage in OF_EACH and (plan.cuts or number):
            code = several.run_each(attempt, stage, _run_one, number)
            _after_verify().of_several(attempt)
            return code
        if plan.cuts and stage != PROBE.name:
            return several.run(attempt, stage, _run_one)
        return _run_one(attempt, stage)


def _run_one(attempt: Attempt, stage: str) -> int:
    with importing():
        run = run_of(stage, attempt.config.method)
    code = run(Job(attempt, stage))
    return _after_verify().run(attempt, code) if stage == "verify" else code


def _after_verify() -> ModuleType:
    with importing():  # heavy, and for the last process alone
        from magneton_tasks.outcome import after_verify
    return after_verify


def _lease(attempt: Attempt) -> AbstractContextManager[lease.Heart]:
    """The run's lease for one stage; whoever runs the other stages too gives it back at their end."""
    places, run = lease_places(attempt.config, attempt.plan.thresholds), attempt.plan.run
    if is_run_by_runner():
        return lease.acquire(places, run, process_bound=False).kept()
    return lease_by_hand.kept(places, run)
