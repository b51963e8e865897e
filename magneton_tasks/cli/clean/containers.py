"""``magneton clean --what containers``: remove the containers of runs that are over."""

from __future__ import annotations

import time
from typing import Any

from magneton_tasks.base.units import human_time
from magneton_tasks.clean.left_behind import Container, containers_over
from magneton_tasks.cli.clean.ending import LeftBehind
from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners.docker import containers
from magneton_tasks.runners.docker.engine import Engine
from magneton_tasks.runners.docker.task import name_of


def clean(
    config: RunConfig, older_than_s: float | None, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """List, ask, remove; returns the exit code. Parameters as those of `cli.clean.clean.clean`.

    Raises
    ------
    TemporaryError
        No engine answers.
    Quit
        The question was left.
    """
    engine = Engine.connect(config.docker.engine)
    left = LeftBehind(
        config.paths.work,
        "containers",
        "remove",
        "removed",
        containers_over(engine, config, older_than_s),
        _line,
        _data,
        lambda found: [_remove(engine, c) for c in found],
    )
    return left.clean(dry_run, yes, as_json)


def _line(container: Container) -> str:
    age = human_time(max(time.time() - container["Created"], 0))
    run = container["Labels"].get(containers.RUN)
    return f"{name_of(container)}: {container['Status']}, made {age} ago by run {run}"


def _remove(engine: Engine, container: Container) -> str:
    engine.remove(container["Id"])
    return name_of(container)


def _data(container: Container) -> dict[str, Any]:
    return {
        "id": container["Id"],
        "name": name_of(container),
        "state": container["State"],
        "created": container["Created"],
        "labels": container["Labels"],
    }
