"""``magneton run``: the whole pipeline on this machine, without Airflow; the same stages, the same result."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from magneton_tasks.cli.console import Quit
from magneton_tasks.cli.run import planning
from magneton_tasks.cli.run.live import Display
from magneton_tasks.cli.run.place import EXIT_STOPPED, Place, verify_here, work
from magneton_tasks.cli.run.replacing import Agreement
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.plan.plan import Plan
from magneton_tasks.runners import local, resources, template
from magneton_tasks.runners.command import template_command
from magneton_tasks.runners.registry import Kind, runner_of
from magneton_tasks.runners.template import Template
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.stages.planning import draft
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.paths import AttemptPaths

GO_ON = "run the same command to continue"


def run(
    config: Path,
    *,
    sets: dict[str, object],
    dry_run: bool,
    runner: str | None = None,
    detach: bool = False,
    yes: bool = False,
    **options: Any,
) -> int:
    """Plan, then stage by stage; returns the exit code.

    ``yes``: replace a finished result of other settings without asking.
    """
    if runner is not None:
        sets = {**sets, "runner.default": runner, "runner.offered": [runner]}
    request = new_request(config, sets, **options)
    if dry_run:
        drafted = draft.draft(replace(request, guess=True), write=False)
        for line in planning.describe(drafted.plan, drafted.samples):
            click.echo(line)
        return EXIT_OK
    try:
        if detach:
            from magneton_tasks.cli.run.jobs import detached

            return detached(request, planning.agreement(show=True, yes=yes))
        return perform(request, GO_ON, yes=yes)
    except Quit:
        click.echo("left; the existing result stays as it is", err=True)
        return EXIT_STOPPED
    except KeyboardInterrupt:
        click.echo(f"stopped; finished work stays: {GO_ON}", err=True)
        return EXIT_STOPPED


def new_request(config: Path, sets: dict[str, object], **options: Any) -> PlanRequest:
    """What is asked of plan, under a name of its own; ``options`` as those of `PlanRequest`."""
    # two started in the same second are two runs
    name = f"{time.strftime('cli_%Y-%m-%dT%H-%M-%S')}-{os.urandom(2).hex()}"
    return PlanRequest(config.absolute(), name, sets, process_bound=True, **options)


def perform(request: PlanRequest, go_on: str, *, show_plan: bool = True, yes: bool = False) -> int:
    """Plan and run; returns the exit code.

    Parameters
    ----------
    go_on
        How to go on after a failure: a clause that stands behind a colon.
    show_plan
        False where whoever asks has just seen it.
    yes
        Replace a finished result of other settings without asking.

    Raises
    ------
    Quit
        A finished result was to stay as it is: nothing was changed.
    KeyboardInterrupt
        Ctrl-C: the workers have ended, the lease is given back, finished blocks stay.
    """
    config = draft.load(request)
    place = place_of(config, request)
    plan, paths = place.plan(planning.agreement(show=show_plan, yes=yes))
    return work(config, plan, paths, place, go_on)


def place_of(config: RunConfig, request: PlanRequest) -> Place:
    """Where the stages of a run will work."""
    kind = runner_of(config).kind
    if kind is Kind.CONTAINERS:
        from magneton_tasks.cli.run.containers import Containers

        return Containers(request)
    if kind is Kind.ARRAYS:
        from magneton_tasks.cli.run.jobs import Jobs

        return Jobs(request)
    return Here(request)


class Here(Place):
    """Processes of this machine."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._template: Template | None = None

    def plan(self, agree: Agreement) -> tuple[Plan, AttemptPaths]:
        self._plan, self._paths, drafted = draft.run(self._request, agree)
        self._alone_bytes = resources.alone_memory(drafted.config.local.memory)
        return self._plan, self._paths

    def prepare(self) -> None:
        ensure_warm(click.echo)  # or each worker would compile for itself
        method = self._plan.geometry.method
        self._template = template.started(template_command(method), click.echo)

    def stage(self, stage: str, batches: int | None, display: Display) -> dict[int | None, int]:
        root, workers = self._paths.root, self._plan.workers
        return local.run_stage(
            root,
            stage,
            batches,
            workers,
            display.take,
            display.tick,
            self._alone_bytes,
            self._template,
        )

    def put_away(self) -> None:
        if self._template is not None:
            self._template.close()

    def verify(self) -> int:
        return verify_here(self._paths)
