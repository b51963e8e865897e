"""``magneton run``: the whole pipeline on this machine, without Airflow; the same stages, the same result."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from magneton_tasks import files
from magneton_tasks.cli import planning as plans
from magneton_tasks.cli.summary import print_summary
from magneton_tasks.errors import EXIT_OK, RETRYABLE_EXITS
from magneton_tasks.grid import ranges_len
from magneton_tasks.lease import acquire
from magneton_tasks.paths import STAGES, AttemptPaths
from magneton_tasks.plan import Plan
from magneton_tasks.runners import local
from magneton_tasks.stages import plan as planning
from magneton_tasks.stages.attempt import Attempt

#: A worker's line about one block or cell.
_SETTLED = re.compile(r"^(\w+) (?:block|cell) \d+: (done|empty|FAILED|failed)")


def run(config: Path, *, sets: dict[str, object], dry_run: bool, **options: Any) -> int:
    """Plan, then stage by stage; returns the exit code."""
    # two started in the same second are two runs
    name = f"{time.strftime('cli_%Y-%m-%dT%H-%M-%S')}-{os.urandom(2).hex()}"
    request = planning.Request(config.absolute(), name, sets, process_bound=True, **options)
    if dry_run:
        drafted = planning.draft(request, write=False)
        for line in plans.describe(drafted.plan, drafted.samples):
            click.echo(line)
        return EXIT_OK
    plan, paths, drafted = planning.run(request)
    lease = acquire(planning.lease_directories(drafted.config), name, process_bound=True)
    try:
        for line in plans.describe(plan, drafted.samples):
            click.echo(line)
        if plan.nothing_to_do:
            click.echo("nothing to do; verifying")
        with lease.kept():
            code = _verify_here(paths) if plan.nothing_to_do else run_stages(plan, paths)
    finally:
        lease.release()
    if code == EXIT_OK:
        print_summary(paths.root)
    return code


def _verify_here(paths: AttemptPaths) -> int:
    """Verify in this process: a rerun with nothing to do shouldn't pay for a second one."""
    from magneton_tasks.stages import verify

    log = paths.log("verify")
    with open(log, "a", encoding="utf-8") as file, redirect_stdout(file):
        code = verify.run(Attempt.open(paths.root))
    if code != EXIT_OK:
        _explain("verify", code, paths, Console())
    return code


def run_stages(plan: Plan, paths: AttemptPaths) -> int:
    """All stages of an attempt, with progress; stops after the first that fails."""
    console = Console()
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for stage in STAGES:
            code = _run_stage(stage, plan, paths, progress, console)
            if code != EXIT_OK:
                _explain(stage, code, paths, console)
                return code
    return EXIT_OK


def _run_stage(
    stage: str, plan: Plan, paths: AttemptPaths, progress: Progress, console: Console
) -> int:
    work = plan.work.get(stage)
    if work is not None and work.batches == 0 and not (stage == "pool" and work.todo):
        return EXIT_OK
    mapped = stage in plan.work and stage != "pool"
    total = ranges_len(work.todo) if work is not None and mapped else 1
    task = progress.add_task(stage, total=total)
    began = time.time()

    def on_line(line: str) -> None:
        settled = _SETTLED.match(line)
        if settled:
            progress.advance(task)
        if "FAILED" in line or "WARNING" in line:
            _say(console, line)

    codes = local.run_stage(
        paths.root, stage, work.batches if work and mapped else None, plan.workers, on_line
    )
    progress.update(task, completed=total)
    if not console.is_terminal:
        click.echo(f"{stage:<10} {total:,} in {time.time() - began:.1f} s")
    failed = [c if c > 0 else 75 for c in codes.values() if c]
    if not failed:
        return EXIT_OK
    retryable = [c for c in failed if c in RETRYABLE_EXITS]
    return max(retryable or failed)


def _explain(stage: str, code: int, paths: AttemptPaths, console: Console) -> None:
    """What failed, why, what to do, and where the logs are."""
    shown = 0
    for name in files.listdir(paths.root / "results"):
        if not name.startswith(stage):
            continue
        with files.open_read(paths.root / "results" / name) as file:
            result = json.loads(file.read())
        for failure in result.get("failures", ()):
            shown += 1
            if shown <= 5:
                where = f" {failure['key']}" if failure.get("key") is not None else ""
                _say(console, f"{stage}{where}: {failure['cause']}", "red")
                if failure.get("hint"):
                    _say(console, f"  what to do: {failure['hint']}")
                if failure.get("log"):
                    _say(console, f"  log: {failure['log']}")
    _say(
        console,
        f"{stage} failed ({code}); logs: {paths.logs}; what is done stays: run the same command to go on",
    )


def _say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: no path is cut in two where the terminal ends."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
