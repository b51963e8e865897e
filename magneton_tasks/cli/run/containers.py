"""``magneton run --runner docker``: plan and all stages in containers, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from magneton_tasks.base import files, lease
from magneton_tasks.base.location import locate
from magneton_tasks.cli.run import replacing
from magneton_tasks.cli.run.live import Display
from magneton_tasks.cli.run.place import Place
from magneton_tasks.cli.run.replacing import Agreement
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import EXIT_BUG, EXIT_OK, MagnetonError
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.runners.command import plan_command
from magneton_tasks.runners.docker import run as docker_run
from magneton_tasks.runners.docker.task import Ending, Workshop, plan_task
from magneton_tasks.stages.planning import draft, replaced
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work import group_work
from magneton_tasks.work.attempts import newest_first
from magneton_tasks.work.events import Ended, Event
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.paths import AttemptPaths, WorkPaths


class Containers(Place):
    """Containers of the worker image; what `cli.run.place.Place` asks for."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request

    def plan(self, agree: Agreement) -> tuple[Plan, AttemptPaths]:
        """Make an attempt in a container, so that its files belong to the work directory's owner.

        Nobody can be asked in there: what it would replace is told from the settings before.
        """
        request = self._request
        sets = dict(request.overrides)
        if request.workers is not None:
            sets["docker.workers"] = request.workers
        workshop = Workshop.of_config(request.config_path, sets, request.partition)
        command = plan_command(
            request.config_path,
            request.run,
            sets,
            request.partition,
            request.stages,
            request.restart,
            request.form,
            request.overwrite_output,
            request.thresholds,
        )
        config = draft.load(request)
        if agree.may_ask and "apply" in request.stages:
            _ask(agree, config, request)
        _break_dead_lease(workshop, _directories(config, request.several), request.run)
        task = plan_task(request.config_path, workshop.config, request.run, command)
        told: list[Event] = []
        ending = workshop.run(task, told.append)
        if ending.exit_code != EXIT_OK or ending.told.result is None:
            raise ending.cause or _failed(ending, told)
        if agree.show:
            for event in told:
                if not isinstance(event, Ended):
                    click.echo(event.sentence())
        root = Path(ending.told.result["attempt"])
        self._workshop = Workshop.of_attempt(root)
        self._paths = AttemptPaths(root)
        plan = self._workshop.planned
        for name in self._workshop.reap_others(plan.run, plan.attempt):
            click.echo(f"removed the container {name} of an earlier run")
        return plan, self._paths

    def guarded(self, config: RunConfig, thresholds: Sequence[float] = ()) -> list[lease.Place]:
        """What isn't in a bucket: plan, each stage and release keep that, in containers."""
        return [*_directories(config, thresholds)]

    def give_back(self) -> None:
        """The lease in a bucket, by a container of its own."""
        if _has_bucket(self._workshop.config):
            _give_back(self._paths.root)

    def prepare(self) -> None:
        """Nothing: the image is warm."""

    def groups(self, stage: str, paths: AttemptPaths) -> StagePlan:
        """In a container, so that the files belong to the work directory's owner."""
        if not group_work.is_wanted(self._workshop.planned, stage):
            return StagePlan(0)
        codes = docker_run.run_stage(self._workshop, paths.root, stage, None, 1, _silent)
        if codes[None] != EXIT_OK:
            raise _failed(Ending(codes[None]), [])
        with files.open_read(paths.result(stage)) as file:
            is_needed = json.loads(file.read())["batches"] > 0
        return group_work.read(paths, stage, 0).work if is_needed else StagePlan(0)

    def stage(self, stage: str, batches: int | None, display: Display) -> dict[int | None, int]:
        workers = self._workshop.planned.workers
        return docker_run.run_stage(
            self._workshop, self._paths.root, stage, batches, workers, display.take, display.tick
        )

    def verify(self) -> int:
        codes = docker_run.run_stage(self._workshop, self._paths.root, "verify", None, 1, _silent)
        return codes[None]


def _ask(agree: Agreement, config: RunConfig, request: PlanRequest) -> None:
    if _has_bucket(config):
        return  # out of this process's reach; plan says it
    restart, overwrite = request.restart, request.overwrite_output
    several = [
        found
        for each in request.each(config)
        if (found := replaced.by_settings(each, restart=restart, overwrite=overwrite)) is not None
    ]
    for found in several:
        for line in replacing.lines(found):
            click.echo(line)
    agree.ask(several)


def _directories(config: RunConfig, thresholds: Sequence[float]) -> list[Path]:
    """What of the leases this process can reach: credentials of buckets are for the containers."""
    return [place for place in lease_places(config, thresholds) if isinstance(place, Path)]


def _has_bucket(config: RunConfig) -> bool:
    return locate(config.paths.output).path is None


def _break_dead_lease(workshop: Workshop, directories: Sequence[Path], run: str) -> None:
    """Break the lease of a run of this machine that was killed: plan, in a container, sees no other process."""
    held = [found for d in directories if (found := lease.look(d)) is not None]
    dead = {holder.run for holder, _ in held if holder.is_dead}
    for name in dead:
        _release_bucket(workshop, name)
    if dead:
        lease.acquire(directories, run, process_bound=True).release()


def _release_bucket(workshop: Workshop, run: str) -> None:
    """Give back what a dead run holds in a bucket; its containers may still keep it alive."""
    found = newest_first(WorkPaths(Path(workshop.config.paths.work)), run)
    if found and _has_bucket(workshop.config):
        list(workshop.reap_others(run="", attempt=0))
        with suppress(MagnetonError, ValueError, KeyError):  # another version's: it turns stale
            _give_back(found[0].paths.root)


def _give_back(root: Path) -> None:
    docker_run.run_stage(Workshop.of_attempt(root), root, "release", None, 1, _silent)


def _silent(_: Event) -> None:
    """What is told is in the log; a failure's causes are in its result."""


def _failed(ending: Ending, told: Sequence[Event]) -> MagnetonError:
    """What plan said, as the error that it was."""
    if ending.told.refused is not None:
        return ending.told.refused.error()
    said = "\n".join(event.sentence() for event in told)
    what = said or f"plan ended with {ending.exit_code}, and told no result"
    return MagnetonError.ended_with(ending.exit_code or EXIT_BUG, what)
