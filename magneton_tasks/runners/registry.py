"""The runners that there are: one entry each. A new one is an entry here and a folder of its own.

A runner's kind says how the command line and Airflow run it. For another batch scheduler that is
`Kind.ARRAYS`: its folder fulfils `arrays.scheduler.Scheduler`, its keys are a section of the config
of the same name, and `config.runner_names` allows its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.runner_names import RunnerName
from magneton_tasks.runners.arrays.scheduler import Cluster, Scheduler


class Kind(StrEnum):
    """How a runner works."""

    PROCESSES = "processes of this machine"
    CONTAINERS = "containers"
    ARRAYS = "job arrays of a batch scheduler"


@dataclass(frozen=True, slots=True)
class Runner:
    """One runner.

    Attributes
    ----------
    title
        For people.
    program
        What must be on the PATH to use it; None: nothing.
    more_memory
        How its workers get more memory if no key limits them, as a clause.
    scheduler
        Of `Kind.ARRAYS`: imports the scheduler's class.
    """

    name: RunnerName
    title: str
    kind: Kind
    program: str | None
    more_memory: str
    scheduler: Callable[[], type[Scheduler]] | None = None


def _slurm() -> type[Scheduler]:
    # weight: only what runs on a cluster pays for its modules
    from magneton_tasks.runners.slurm.scheduler import SlurmScheduler

    return SlurmScheduler


_ALL = (
    Runner("local", "this machine", Kind.PROCESSES, None, "run it on a machine with more memory"),
    Runner(
        "slurm",
        "Slurm",
        Kind.ARRAYS,
        "sbatch",
        "choose nodes with more memory (slurm.slurm_partition)",
        _slurm,
    ),
    Runner("docker", "Docker", Kind.CONTAINERS, "docker", "give the engine's machine more memory"),
)
RUNNERS: dict[str, Runner] = {runner.name: runner for runner in _ALL}


def runner_of(config: RunConfig) -> Runner:
    """The runner of a run with this config."""
    return RUNNERS[config.runner.default]


def scheduler_of(config: RunConfig, name: str | None = None) -> Scheduler | None:
    """The batch scheduler of a runner; ``name`` None: of the run's. None: it has none."""
    load = RUNNERS[name or config.runner.default].scheduler
    return None if load is None else load().of_config(config)


def cluster_of(name: str, data: Mapping[str, Any]) -> Cluster:
    """A cluster of a runner, by what `Cluster.to_data` told of it."""
    load = RUNNERS[name].scheduler
    assert load is not None, name
    return load().cluster_of(data)


def schedulers(config: RunConfig) -> list[Scheduler]:
    """Those on which a volume may have jobs: the ones that its config offers, or else all."""
    offered = [name for name in config.runner.offered if RUNNERS[name].scheduler is not None]
    found = (scheduler_of(config, name) for name in offered or RUNNERS)
    return [scheduler for scheduler in found if scheduler is not None]


def is_offered(config: RunConfig, kind: Kind) -> bool:
    """Whether a run may choose a runner of a kind."""
    return any(RUNNERS[name].kind is kind for name in config.runner.offered)
