"""What a run's lease guards."""

from __future__ import annotations

from pathlib import Path

from magneton_tasks.base.lease import Place
from magneton_tasks.base.location import locate
from magneton_tasks.config.read import RunConfig


def lease_places(config: RunConfig) -> list[Place]:
    """The work directory and the output."""
    output = locate(config.paths.output)
    return [Path(config.paths.work), output.path or output.url]
