"""The command of a stage, spelled once: every runner wraps these argument lists."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

#: How this project is started by the interpreter that runs it.
PROGRAM = (sys.executable, "-m", "magneton_tasks")


def plan_command(
    config: str | Path,
    run_id: str,
    sets: Mapping[str, object] | None = None,
    partition: str | None = None,
    stages: Sequence[str] | None = None,
    restart: bool = False,
    form: bool = False,
) -> list[str]:
    """``magneton plan CONFIG --run-id ID ...``; ``form``: the values come from a form, check them as such."""
    command = [*PROGRAM, "plan", str(config), f"--run-id={run_id}"]
    for key, value in (sets or {}).items():
        text = (
            yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
        )
        command.append(f"--set={key}={text}")
    if partition:
        command.append(f"--partition={partition}")
    if stages:
        command.append(f"--stages={','.join(stages)}")
    if restart:
        command.append("--restart")
    if form:
        command.append("--form")
    return command


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
