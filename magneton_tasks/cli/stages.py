"""The stage commands, as runners call them: open the attempt, keep the lease, work, exit code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from magneton_tasks.errors import LeaseHeldError
from magneton_tasks.lease import Lease, acquire
from magneton_tasks.paths import join_level
from magneton_tasks.stages.attempt import Attempt
from magneton_tasks.stages.plan import lease_places
from magneton_tasks.stages.work import Job, raise_on_signals


def run_mapped(stage: str, attempt_dir: Path, batch: int, part: tuple[int, int] | None) -> int:
    """One batch, or one part of one, of a mapped stage."""
    raise_on_signals()
    attempt = Attempt.open(attempt_dir)
    with _lease(attempt).kept() as heart:
        return _mapped(stage)(Job(attempt, stage, batch, part, heart.check))


def run_single(stage: str, attempt_dir: Path) -> int:
    """A stage that isn't mapped."""
    raise_on_signals()
    attempt = Attempt.open(attempt_dir)
    if stage == "release":
        with suppress(LeaseHeldError):  # another run's by now: nothing to give back
            _lease(attempt).release()
        return 0
    with _lease(attempt).kept():
        if stage == "pool":
            from magneton_tasks.stages.pool import run
        elif stage == "probe":
            from magneton_tasks.stages.probe import run
        else:
            from magneton_tasks.stages.verify import run
        return run(attempt)


def _lease(attempt: Attempt) -> Lease:
    return acquire(lease_places(attempt.config), attempt.plan.run, process_bound=False)


def _mapped(stage: str) -> Callable[[Job], int]:
    if stage == "segment":
        from magneton_tasks.stages.segment import run
    elif stage == "count":
        from magneton_tasks.stages.count import run
    elif join_level(stage):
        from magneton_tasks.stages.join import run
    elif stage == "apply":
        from magneton_tasks.stages.apply import run
    else:
        from magneton_tasks.stages.downsample import run
    return run
