"""What plan checks where a config asks for meshes or skeletons."""

from __future__ import annotations

from magneton_tasks.base.extras import MESHING, require_extra
from magneton_tasks.base.location import locate
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.thresholds import is_open
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import object_folders
from magneton_tasks.plan.stage_table import SECTIONS, is_asked
from magneton_tasks.runners.registry import Kind, runner_of
from magneton_tasks.stages.objects.kinds import FOLDERS


def check(config: RunConfig) -> None:
    """Refuse what a run would fail at after hours: a package that isn't installed, a folder of somebody else.

    Raises
    ------
    ConfigError
    OutputError, TemporaryError
        The output can't be looked at.
    """
    for section in SECTIONS:
        if not is_asked(config, section):
            continue
        if runner_of(config).kind is not Kind.CONTAINERS:  # an image has its own packages
            require_extra("mesh", MESHING, f"the section {section} of the config")
        if not is_open(config):
            output = Objects(locate(config.paths.output))
            object_folders.refuse_strangers(output, FOLDERS[section], section)
