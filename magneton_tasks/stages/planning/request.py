"""What is asked of plan; see `magneton plan --help`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import config_at
from magneton_tasks.errors import UsageError
from magneton_tasks.plan.stage_table import CHOICES
from magneton_tasks.stages.planning.thresholds import KEY


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One run's request.

    Attributes
    ----------
    form
        A DAG asks: values may be those of its form only, and few blocks are a task each.
    process_bound
        The run lives in the process that calls (magneton run), not in a DAG's many.
    guess
        Samples of the map tell about which threshold it will ask for, where nobody knows it yet.
    thresholds
        At which there is to be a result; of several, each has an output of its own. None: the
        config's.
    """

    config_path: Path
    run: str
    overrides: Mapping[str, object]
    partition: str | None = None
    stages: tuple[str, ...] = CHOICES
    restart: bool = False
    form: bool = False
    overwrite_output: bool = False
    workers: int | None = None
    process_bound: bool = False
    guess: bool = False
    thresholds: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.thresholds and KEY in self.overrides:
            raise UsageError(
                f"several thresholds and {KEY} contradict each other", "give one of them"
            )

    @property
    def several(self) -> tuple[float, ...]:
        """The thresholds, ascending; none where there is but one."""
        return tuple(sorted(self.thresholds)) if len(self.thresholds) > 1 else ()

    @property
    def sets(self) -> dict[str, object]:
        """The overrides, with the (lowest) threshold that was asked for."""
        lowest = {KEY: min(self.thresholds)} if self.thresholds else {}
        return {**self.overrides, **lowest}

    def each(self, config: RunConfig) -> tuple[RunConfig, ...]:
        """The config of each threshold, the lowest first; itself where there is but one."""
        several = self.several
        return tuple(config_at(config, t, several[0]) for t in several) or (config,)
