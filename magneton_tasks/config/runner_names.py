"""The names of the runners, for whoever must not pay for pydantic (``--help``)."""

from __future__ import annotations

from typing import Literal, get_args

RunnerName = Literal["local", "docker", "slurm"]
RUNNER_NAMES: tuple[RunnerName, ...] = get_args(RunnerName)
