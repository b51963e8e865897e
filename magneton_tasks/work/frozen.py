"""The plan and the config that an attempt was frozen with, as they were written.

`work.attempt.Attempt` is what stages open: it waits for the files, and maps their paths.
"""

from __future__ import annotations

from magneton_tasks.base import files
from magneton_tasks.config.read import RunConfig, parse_config
from magneton_tasks.plan.plan import Plan
from magneton_tasks.work.paths import AttemptPaths


def plan_of(paths: AttemptPaths) -> Plan:
    """The plan of an attempt.

    Raises
    ------
    OSError
        It can't be read.
    BadDataError
        The file holds no plan.
    ConfigError
        Another version of Magneton wrote it.
    """
    with files.open_read(paths.plan) as file:
        return Plan.from_json(file.read(), str(paths.root))


def config_of(paths: AttemptPaths) -> RunConfig:
    """The config of an attempt, with paths as they were called where it was planned.

    Raises
    ------
    OSError
        It can't be read.
    ConfigError
        The file holds no config.
    """
    with files.open_read(paths.config) as file:
        return parse_config(file.read().decode(), str(paths.config))
