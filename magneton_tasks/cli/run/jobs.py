"""``magneton run`` on a cluster and ``magneton attach``: the stages as job arrays, without Airflow.

The controller is a small process that submits, watches and decides; all it knows lies in the attempt.
It may end at any time: jobs in the queue go on, and the next controller finds them.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from magneton_tasks.base.lease import acquire
from magneton_tasks.base.units import several
from magneton_tasks.base.worker_env import worker_environ
from magneton_tasks.cli.console import Quit, ask, is_interactive
from magneton_tasks.cli.run.live import Display
from magneton_tasks.cli.run.place import EXIT_STOPPED, LeftError, Place, verify_here, work
from magneton_tasks.cli.run.replacing import Agreement
from magneton_tasks.errors import EXIT_OK, MagnetonError, NoInputError, UsageError
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_table import PROBE, STAGES
from magneton_tasks.runners.arrays import usage
from magneton_tasks.runners.arrays.job_files import begun
from magneton_tasks.runners.arrays.scheduler import Scheduler
from magneton_tasks.runners.arrays.stage import Counts, InterruptedRunError, LostRunError, StageRun
from magneton_tasks.runners.command import PROGRAM
from magneton_tasks.runners.registry import RUNNERS, Kind, runner_of, scheduler_of
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.attempts import latest_attempt
from magneton_tasks.work.events import Event
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.paths import AttemptPaths


class Jobs(Place):
    """Job arrays on a cluster."""

    outlives = True
    on_interrupt = "Ctrl-C asks: leave, or cancel the jobs"

    def __init__(self, request: PlanRequest | None, paths: AttemptPaths | None = None) -> None:
        """Of a request, or (``paths``) of an attempt that was planned before."""
        # the jobs outlive this process, and so must the lease
        self._request = None if request is None else replace(request, process_bound=False)
        self._running: StageRun | None = None
        if paths is not None:
            self._paths, self._attempt = paths, Attempt.open(paths.root)

    def plan(self, agree: Agreement) -> tuple[Plan, AttemptPaths]:
        assert self._request is not None
        plan, paths, _ = draft.run(self._request, agree)
        self._paths, self._attempt = paths, Attempt.open(paths.root)
        return plan, paths

    @property
    def _scheduler(self) -> Scheduler:
        found = scheduler_of(self._attempt.config)
        assert found is not None
        return found

    def prepare(self) -> None:
        """The probe: what would fail every job fails one."""
        if not self._scheduler.settings.probe or _begun(self._paths):
            return
        click.echo("probe: one small job checks a compute node")
        codes = self._run(StageRun(self._attempt, self._scheduler, PROBE.name, None, _echo))
        if codes[None] != EXIT_OK:
            raise MagnetonError.ended_with(
                codes[None],
                "the probe failed, so no other job was submitted",
                "fix what is named above, then run the same command again",
            )

    def stage(self, stage: str, batches: int | None, display: Display) -> dict[int | None, int]:
        if _is_behind(self._paths, stage):
            return {None: EXIT_OK}
        self._attempt = self._attempt.as_settled()
        todo = display.rows[stage].summary.todo

        def counts(seen: Counts) -> None:
            display.jobs(seen.pending, seen.running, int(seen.done * todo))

        return self._run(
            StageRun(self._attempt, self._scheduler, stage, batches, display.take, counts)
        )

    def _run(self, stage_run: StageRun) -> dict[int | None, int]:
        try:
            return stage_run.run()
        except LostRunError:
            raise LeftError(
                "another process follows this run now; this one stops following it", EXIT_STOPPED
            ) from None
        except InterruptedRunError:
            self._running = stage_run
            raise

    def verify(self) -> int:
        return verify_here(self._paths)

    def interrupted(self) -> None:
        """Ctrl-C: ask whether the jobs go on; raises `LeftError`, or returns after cancelling."""
        if self._running is None:
            return
        if is_interactive() and _wants_cancel():
            jobs = self._running.cancel()
            click.echo(
                f"cancelled {several(len(jobs), 'array')}: {', '.join(jobs) or 'none was in the queue'}"
            )
            return
        process = follow_in_background(self._paths)
        raise LeftError("\n".join(_left(process, self._paths)), EXIT_STOPPED)

    def close(self) -> None:
        """What the jobs used, and a proposal for the next run."""
        for note in usage.report(self._scheduler, self._attempt):
            _echo(note)


def detached(request: PlanRequest, agree: Agreement) -> int:
    """Plan here, so that what is wrong is said at once; then leave the run to a process of its own."""
    config = draft.load(request)
    if runner_of(config).kind is not Kind.ARRAYS:
        clusters = [r for r in RUNNERS.values() if r.kind is Kind.ARRAYS]
        raise UsageError(
            f"--detach is for the {' or '.join(r.title for r in clusters)} runner, "
            f"and this run's is {config.runner.default}",
            f"add --runner {' or '.join(r.name for r in clusters)}, or run it under nohup",
        )
    place = Jobs(request)
    _, paths = place.plan(agree)
    process = follow_in_background(paths)
    for line in _left(process, paths):
        click.echo(line)
    return EXIT_OK


def attach(where: Path, partition: str | None) -> int:
    """Follow a run that was left: of a volume config, or an attempt's directory; the exit code."""
    paths = AttemptPaths(where) if where.is_dir() else latest_attempt(where, partition)
    if not paths.plan.is_file():
        raise NoInputError(
            f"{where} is neither a volume config nor an attempt's directory",
            "give the config, or the directory that `magneton run` printed",
        )
    place = Jobs(None, AttemptPaths(paths.root.absolute()))
    plan, config = place._attempt.plan, place._attempt.config
    if runner_of(config).kind is not Kind.ARRAYS:
        raise UsageError(
            f"{paths.root} is a run of the {config.runner.default} runner",
            "only runs on a cluster can be followed",
        )
    # of the same run: another one that holds the volume refuses here
    acquire(lease_places(config, plan.thresholds), plan.run, process_bound=False)
    try:
        return work(config, plan, paths, place, f"magneton attach {paths.root}")
    except KeyboardInterrupt:
        click.echo("stopped; finished work stays", err=True)
        return EXIT_STOPPED


def follow_in_background(paths: AttemptPaths) -> int:
    """Start a process that outlives this terminal and follows the run; its id."""
    log = _controller_log(paths)
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [*PROGRAM, "attach", str(paths.root)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
            env=worker_environ(),
        )
    return process.pid


def _wants_cancel() -> bool:
    """Ask; whoever doesn't answer leaves the jobs as they are."""

    def check(answer: str) -> bool:
        if answer.lower() in ("l", "leave", "c", "cancel"):
            return answer.lower().startswith("c")
        raise ValueError("answer l or c")

    with suppress(Quit, KeyboardInterrupt):
        return ask(
            "Leave the jobs to a process in the background (l), or cancel them (c)?", check, "l"
        )
    return False


def _left(process: int, paths: AttemptPaths) -> tuple[str, ...]:
    return (
        f"the run continues in process {process}; log: {_controller_log(paths)}",
        f"follow it with:  magneton attach {paths.root}",
    )


def _echo(event: Event) -> None:
    click.echo(event.sentence())


def _controller_log(paths: AttemptPaths) -> Path:
    return paths.logs / "controller.log"


def _begun(paths: AttemptPaths) -> list[str]:
    """Stages that have had jobs in this attempt, in their order."""
    names = begun(paths.root)
    return [s for s in STAGES if s in names]


def _is_behind(paths: AttemptPaths, stage: str) -> bool:
    """Whether a later stage has begun: then this one is complete."""
    begun = _begun(paths)
    return bool(begun) and STAGES.index(stage) < STAGES.index(begun[-1])
