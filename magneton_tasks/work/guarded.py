"""What a run's lease guards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from magneton_tasks.base.lease import Place
from magneton_tasks.base.location import locate
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import outputs_of


def lease_places(config: RunConfig, thresholds: Sequence[float] = ()) -> list[Place]:
    """The work directory and the output (once it is known), or that of each of several thresholds."""
    outputs = map(locate, outputs_of(config, thresholds))
    return [Path(config.paths.work), *(output.path or output.url for output in outputs)]
