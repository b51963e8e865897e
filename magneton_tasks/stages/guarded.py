"""What a run's lease guards."""

from __future__ import annotations

from pathlib import Path

from magneton_tasks.config import RunConfig
from magneton_tasks.lease import Place
from magneton_tasks.location import locate


def lease_places(config: RunConfig) -> list[Place]:
    """The work directory and the output."""
    output = locate(config.paths.output)
    return [Path(config.paths.work), output.path or output.url]
