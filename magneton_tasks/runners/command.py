"""The command of a stage, spelled once: every runner wraps these argument lists."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from magneton_tasks.base.worker_env import BY_RUNNER
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.plan.stage_table import Method
from magneton_tasks.work.events import Told
from magneton_tasks.work.record import OUT_OF_MEMORY
from magneton_tasks.work.record_writer import IMAGE_VARIABLE, JOB_VARIABLE

#: How this project is started by the interpreter that runs it.
PROGRAM = (sys.executable, "-m", "magneton_tasks")
#: What forks the local runner's workers, see `runners.template`.
_TEMPLATE = (sys.executable, "-m", "magneton_tasks.cli.template")

#: What tells a process that a runner started it: in processes of this machine, in a container, in a job.
_BY_RUNNER = (BY_RUNNER, IMAGE_VARIABLE, JOB_VARIABLE)


def is_run_by_runner(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a runner started this stage, which starts the others too; else a person did, by hand."""
    return any(environ.get(name) for name in _BY_RUNNER)


def arguments(command: Sequence[str]) -> list[str]:
    """A command without the interpreter of this machine: what the worker image's entrypoint gets."""
    return list(command[len(PROGRAM) :])


def ran_out_of_memory(told: Told) -> bool:
    """Whether a command's result says that something ran out of memory: with more it may well work."""
    return any(failure.get(OUT_OF_MEMORY) for failure in told.failures)


def plan_command(
    config: str | Path,
    run_id: str,
    sets: Mapping[str, object] | None = None,
    partition: str | None = None,
    stages: Sequence[str] | None = None,
    restart: bool = False,
    form: bool = False,
    overwrite_output: bool = False,
    thresholds: Sequence[float] = (),
) -> list[str]:
    """``magneton plan CONFIG --run-id ID ...``; ``form``: the values come from a form, check them as such."""
    command = [*PROGRAM, "plan", str(config), f"--run-id={run_id}"]
    command += _run_options(sets, partition, stages, restart, overwrite_output, thresholds)
    return [*command, "--form"] if form else command


def run_command(
    config: str | Path,
    sets: Mapping[str, object] | None = None,
    partition: str | None = None,
    *,
    runner: str | None = None,
    workers: int | None = None,
    stages: Sequence[str] | None = None,
    restart: bool = False,
    overwrite_output: bool = False,
) -> list[str]:
    """``magneton run CONFIG ...``, as a program starts it."""
    command = [*PROGRAM, "run", str(config)]
    command += _run_options(sets, partition, stages, restart, overwrite_output)
    if runner is not None:
        command.append(f"--runner={runner}")
    if workers is not None:
        command.append(f"--workers={workers}")
    return command


def _run_options(
    sets: Mapping[str, object] | None,
    partition: str | None,
    stages: Sequence[str] | None,
    restart: bool,
    overwrite_output: bool,
    thresholds: Sequence[float] = (),
) -> list[str]:
    """Options that ``plan`` and ``run`` share."""
    options = []
    for key, value in (sets or {}).items():
        text = (
            yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
        )
        options.append(f"--set={key}={text}")
    if partition:
        options.append(f"--partition={partition}")
    if stages:
        options.append(f"--stages={','.join(stages)}")
    if restart:
        options.append("--restart")
    if overwrite_output:
        options.append("--overwrite-output")
    if thresholds:
        options.append(f"--thresholds={','.join(map(text_of, thresholds))}")
    return options


def stage_command(
    stage: str, attempt: str | Path, batch: int | None = None, part: tuple[int, int] | None = None
) -> list[str]:
    """``magneton STAGE --run ATTEMPT_DIR [--batch N] [--part I/K]``."""
    command = [*PROGRAM, stage, "--run", str(attempt)]
    if batch is not None:
        command += ["--batch", str(batch)]
    if part is not None:
        command += ["--part", f"{part[0]}/{part[1]}"]
    return command


def template_command(method: Method) -> list[str]:
    """What imports the code of a method's stages, then forks their processes."""
    return [*_TEMPLATE, method]


def maintain_command(
    config: str | Path, what: Sequence[str], keep_days: float, dry_run: bool
) -> list[str]:
    """``magneton maintain CONFIG --what W ... --older-than Nd``."""
    command = [*PROGRAM, "maintain", str(config), f"--older-than={keep_days:g}d"]
    command += [f"--what={kind}" for kind in what]
    return [*command, "--dry-run"] if dry_run else command
