"""Docker and batch schedulers: whether they answer, and what they allow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from magneton_tasks.base.checkup import Check, Finding, odd, ok
from magneton_tasks.base.units import human_bytes, human_time, several
from magneton_tasks.config.read import RunConfig
from magneton_tasks.runners.arrays import limits as limits_of
from magneton_tasks.runners.arrays.scheduler import Scheduler
from magneton_tasks.runners.docker.engine import DEFAULT_ADDRESS, Engine
from magneton_tasks.runners.registry import RUNNERS, Kind, Runner, scheduler_of


def checks(config: RunConfig | None) -> list[Check]:
    """The table: those that a config offers; without a config all, as far as they seem to be here."""
    if config is None:
        arrays = [found for found in RUNNERS.values() if found.kind is Kind.ARRAYS]
        return [
            Check("Docker", docker_here),
            *(Check(found.title, lambda r=found: cluster_here(r)) for found in arrays),  # type: ignore[misc]
        ]
    found = []
    for name in config.runner.offered:
        scheduler = scheduler_of(config, name)
        if scheduler is not None:
            found.append(Check(RUNNERS[name].title, lambda s=scheduler: cluster(s)))  # type: ignore[misc]
        elif RUNNERS[name].kind is Kind.CONTAINERS:
            found.append(Check(RUNNERS[name].title, lambda: engine(config)))
    return found


def docker_here() -> Iterator[Finding]:
    """An engine that this user may use."""
    address = os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    if address == DEFAULT_ADDRESS and not Path(address.removeprefix("unix://")).exists():
        yield ok("no engine on this machine; only the runner docker needs one")
    else:
        yield from _answers(Engine.connect())


def engine(config: RunConfig) -> Iterator[Finding]:
    """The engine of a config, and its image."""
    found = Engine.connect(config.docker.engine)
    yield from _answers(found)
    yield ok(f"image {config.docker.image}: {found.image_digest(config.docker.image)[:19]}")


def _answers(found: Engine) -> Iterator[Finding]:
    yield ok(f"the engine at {found.address} answers; it has {human_bytes(found.memory_bytes())}")


def cluster_here(runner: Runner) -> Iterator[Finding]:
    """Whether the programs of a batch scheduler are here."""
    path = shutil.which(runner.program or "")
    if path is None:
        yield ok(f"no {runner.program} on the PATH; only the runner {runner.name} needs it")
    else:
        yield ok(f"{path}; `magneton doctor CONFIG` asks the cluster what it allows")


def cluster(scheduler: Scheduler) -> Iterator[Finding]:
    """What the cluster of a config allows, and whether it has nodes that work."""
    found = limits_of.ask(scheduler)
    time_s = found.max_time_s
    longest = human_time(time_s) if time_s is not None else "any time"
    told = (
        f"partition {found.partition}: jobs of up to {longest}, {human_bytes(found.node_bytes)} and "
        f"{found.node_cpus} CPUs; arrays of up to {found.max_array - 1:,}"
    )
    nodes = scheduler.working_nodes(found)
    if nodes:
        yield ok(f"{told}; {several(len(nodes), 'node')} {'works' if len(nodes) == 1 else 'work'}")
    else:
        yield odd(f"{told}; no node works now", "sinfo tells why; jobs wait until one does")
