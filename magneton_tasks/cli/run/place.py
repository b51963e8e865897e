"""How the stages of an attempt are run, wherever they work: in order, with progress, up to the first that fails."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout

import click

from magneton_tasks.base.lease import Place as Guarded
from magneton_tasks.base.lease import acquire, give_back
from magneton_tasks.cli.console import echo
from magneton_tasks.cli.run.displays import display
from magneton_tasks.cli.run.live import STOPS, Display
from magneton_tasks.cli.run.replacing import Agreement
from magneton_tasks.cli.run.summary import print_summary
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import is_open
from magneton_tasks.errors import EXIT_OK, worst
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import AFTER_POOL, MAPPED, OF_EACH, OF_GROUPS, stages_of
from magneton_tasks.stages import several
from magneton_tasks.stages.planning import group_work
from magneton_tasks.work import left_out, results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.job import Job
from magneton_tasks.work.paths import AttemptPaths
from magneton_tasks.work.record import failure_lines

#: What a shell makes of Ctrl-C.
EXIT_STOPPED = 130


class LeftError(Exception):
    """The run goes on without this process, which keeps its hands off the lease."""

    def __init__(self, what: str, exit_code: int) -> None:
        super().__init__(what)
        self.exit_code = exit_code


class Place:
    """Where a run's stages work.

    Attributes
    ----------
    outlives
        The work goes on when this process ends, and keeps the lease then.
    on_interrupt
        What Ctrl-C does, in a few words.
    """

    outlives = False
    on_interrupt = STOPS

    def plan(self, agree: Agreement) -> tuple[Plan, AttemptPaths]:
        """Make an attempt, if ``agree``, which shows its plan, raises no `Quit`."""
        raise NotImplementedError

    def guarded(self, config: RunConfig, thresholds: Sequence[float] = ()) -> list[Guarded]:
        """Whose lease this process keeps; the rest is kept where the stages work."""
        return lease_places(config, thresholds)

    def give_back(self) -> None:
        """At the end, the leases that this process doesn't keep."""

    def prepare(self) -> None:
        """Whatever must be done once before the first stage."""

    def put_away(self) -> None:
        """What `prepare` left for the stages, once they have ended."""

    def groups(self, stage: str, paths: AttemptPaths) -> StagePlan:
        """Find out what a stage that works groups has to do."""
        return group_work.prepare(Attempt.open(paths.root), stage)

    def stage(self, stage: str, batches: int | None, display: Display) -> dict[int | None, int]:
        """Run all batches of a stage; exit codes of their last tries."""
        raise NotImplementedError

    def verify(self) -> int:
        """Verify where there's nothing else to do; returns the exit code."""
        raise NotImplementedError

    def interrupted(self) -> None:
        """Ctrl-C ended a stage; raises `LeftError` where the work goes on."""

    def close(self) -> None:
        """Whatever is told once, after the last stage."""


def work(config: RunConfig, plan: Plan, paths: AttemptPaths, place: Place, go_on: str) -> int:
    """Run the stages of an attempt; returns the exit code. Parameters and errors as `perform`."""
    lease = acquire(
        place.guarded(config, plan.thresholds), plan.run, process_bound=not place.outlives
    )
    is_left = False
    try:
        if plan.nothing_to_do:
            click.echo("nothing to do; verifying")
        with lease.kept():
            if plan.nothing_to_do:
                code = place.verify()
            else:
                code = _all_stages(plan, paths, place)
    except LeftError as left:
        is_left = True
        click.echo(str(left))
        return left.exit_code
    finally:
        if not is_left:
            with _undisturbed():
                place.give_back()
                lease.release()
                if is_open(config) and not plan.cuts:
                    _give_back_settled(paths, place)
    place.close()
    if code == EXIT_OK:
        print_summary(paths.root)
    else:
        _which_are_complete(plan, paths)
        _report(paths)
        echo(f"logs: {paths.logs}")
        echo(f"finished work stays: {go_on}")
    return code


def _all_stages(plan: Plan, paths: AttemptPaths, place: Place) -> int:
    try:
        place.prepare()
        return run_stages(plan, paths, place)
    except KeyboardInterrupt:
        place.interrupted()
        raise
    finally:
        place.put_away()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C waits for these few milliseconds: the lease must not outlive the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def verify_here(paths: AttemptPaths) -> int:
    """Verify in this process: a rerun with nothing to do shouldn't pay for a second one."""
    from magneton_tasks.outcome import (
        after_verify,  # heavy: most runs verify in a process of its own
    )
    from magneton_tasks.stages import verify

    def one(attempt: Attempt, stage: str) -> int:
        return after_verify.run(attempt, verify.run(Job(attempt, stage)))

    log = paths.log("verify")
    with open(log, "a", encoding="utf-8") as file, redirect_stdout(file):
        attempt = Attempt.open(paths.root)
        if attempt.plan.cuts:
            code = several.run_each(attempt, "verify", one)
            after_verify.of_several(attempt)
        else:
            code = one(attempt, "verify")
    if code != EXIT_OK:
        _explain("verify", code, paths)
    return code


def run_stages(plan: Plan, paths: AttemptPaths, place: Place) -> int:
    """All stages of an attempt, with progress; stops after the first that fails.

    Once the stages work several thresholds, it goes on: one that fails doesn't stop the others.
    """
    failed: dict[str, int] = {}
    with display(plan, place.on_interrupt) as shown:
        for stage in stages_of(plan.geometry.method):
            work = _work_of(stage, plan, paths, place, shown)
            if stage not in shown.rows:
                continue
            codes = _run_stage(stage, _batches(plan, stage, work), place, shown)
            code = worst(codes.values())
            if plan.cuts:
                _note(Attempt.open(paths.root), stage, codes)
            if code != EXIT_OK:
                failed[stage] = code
                if not plan.cuts or stage not in AFTER_POOL:
                    break
    for stage, code in failed.items():
        _explain(stage, code, paths)
    return worst(failed.values())


def _work_of(
    stage: str, plan: Plan, paths: AttemptPaths, place: Place, shown: Display
) -> StagePlan | None:
    """What is to do of a stage; of one that works groups it is found out now, and shown."""
    if stage not in OF_GROUPS:
        return plan.work.get(stage)
    work = place.groups(stage, paths)
    if work.batches:
        shown.add(plan, stage, work)
    return work


def _note(attempt: Attempt, stage: str, codes: Mapping[int | None, int]) -> None:
    """Keep which of several thresholds a stage failed at: later ones leave it out."""
    for batch, code in codes.items():
        cause = None if code == EXIT_OK else f"batch {batch} ended with {code}"
        left_out.note_batch(attempt, stage, batch, cause)


def _batches(plan: Plan, stage: str, work: StagePlan | None) -> int | None:
    """How many batches a stage has; None: it runs once."""
    if stage in OF_EACH:
        return len(plan.cuts) or None
    return work.batches if work is not None and stage in MAPPED else None


def _run_stage(
    stage: str, batches: int | None, place: Place, shown: Display
) -> dict[int | None, int]:
    """Exit codes of the batches' last tries."""
    with shown.stage(stage) as progress:
        codes = place.stage(stage, batches, shown)
        progress.end(time.time(), is_done=worst(codes.values()) == EXIT_OK)
    return codes


def _give_back_settled(paths: AttemptPaths, place: Place) -> None:
    """The lease of an output that pool has taken: see `stages.settling`."""
    attempt = Attempt.open(paths.root)
    if not attempt.is_open:
        give_back(place.guarded(attempt.config), attempt.plan.run)


def _which_are_complete(plan: Plan, paths: AttemptPaths) -> None:
    """Of several thresholds: at which there is a result all the same."""
    complete = [c.name for c in plan.cuts if results.is_proved(paths.at(c.name))]
    failed = [c.name for c in plan.cuts if c.name not in complete]
    if plan.cuts:
        echo(f"failed at {', '.join(failed)}; complete: {', '.join(complete) or 'none'}", "red")


def _explain(stage: str, code: int, paths: AttemptPaths) -> None:
    """What failed, why, what to do, and where the logs are."""
    shown = 0
    for result in results.read(paths).values():
        if result.get("stage") != stage:
            continue
        for failure in result.get("failures", ()):
            shown += 1
            if shown <= 5:
                where = f" {failure['key']}" if failure.get("key") is not None else ""
                cause, *more = failure_lines(failure, f"{stage}{where}: ")
                echo(cause, "red")
                for line in more:
                    echo(line)
    echo(f"{stage} failed ({code})", "red")


def _report(paths: AttemptPaths) -> None:
    """The report of a run that failed; that it can't be written is no second failure."""
    from magneton_tasks.outcome.report import write_report

    try:
        write_report(Attempt.open(paths.root))
        echo(f"report: {paths.page}")
    except Exception as error:
        echo(f"WARNING: the report couldn't be written: {type(error).__name__}: {error}")
