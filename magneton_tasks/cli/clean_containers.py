"""``magneton clean --what containers``: remove the containers of runs that are over."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from magneton_tasks.cli import console
from magneton_tasks.config import RunConfig
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.runners import containers
from magneton_tasks.runners.docker import name_of
from magneton_tasks.runners.engine import Engine
from magneton_tasks.stages import current
from magneton_tasks.units import human_time

Container = Mapping[str, Any]


def clean(
    config: RunConfig, older_than_s: float | None, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """List, ask, remove; returns the exit code. Parameters as those of `cli.clean.clean`.

    Raises
    ------
    TemporaryError
        No engine answers.
    Quit
        The question was left.
    """
    engine = Engine.connect(config.docker.engine)
    found = over(engine, config, older_than_s)
    if as_json:
        removed = [] if dry_run else [_remove(engine, c) for c in found]
        data = {
            "work": config.paths.work, "what": "containers", "dry_run": dry_run,
            "containers": [_data(c) for c in found], "removed": removed,
        }  # fmt: skip
        click.echo(json.dumps(data))
        return EXIT_OK
    for container in found:
        age = human_time(max(time.time() - container["Created"], 0))
        run = container["Labels"].get(containers.RUN)
        click.echo(f"{name_of(container)}: {container['Status']}, made {age} ago by run {run}")
    if not found:
        click.echo(f"no container of a run that is over, of {config.paths.work}")
    if dry_run or not found:
        return EXIT_OK
    if not yes and not console.confirm(f"remove {len(found)} containers?"):
        raise console.Quit
    for container in found:
        _remove(engine, container)
    click.echo(f"removed {len(found)} containers")
    return EXIT_OK


def over(engine: Engine, config: RunConfig, older_than_s: float | None) -> list[Container]:
    """The volume's containers, but for those of the run that has its lease."""
    holder = current.holder_of(Path(config.paths.work))
    found = engine.find({containers.WORK: config.paths.work})
    oldest = time.time() - (older_than_s or 0)
    return [
        c
        for c in found
        if (holder is None or c["Labels"].get(containers.RUN) != holder[0].run)
        and c["Created"] <= oldest
    ]


def _remove(engine: Engine, container: Container) -> str:
    engine.remove(container["Id"])
    return name_of(container)


def _data(container: Container) -> dict[str, Any]:
    return {
        "id": container["Id"], "name": name_of(container), "state": container["State"],
        "created": container["Created"], "labels": container["Labels"],
    }  # fmt: skip
