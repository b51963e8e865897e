"""The levels of the volume that a new config is made for."""

from __future__ import annotations

from magneton_tasks.base.units import several
from magneton_tasks.cli.config.answers import COMPLETE, Answers
from magneton_tasks.cli.config.places import as_url
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.given import likely_axes
from magneton_tasks.formats.info import NOTHING_GIVEN, VolumeInfo
from magneton_tasks.formats.metadata import read_levels


def levels_of(text: str) -> list[VolumeInfo]:
    """All levels of the volume that an answer names; refuses what is no affinity map."""
    from magneton_tasks.stages.planning.checks import check_input

    url = as_url(text)
    if "{partition}" in url:
        raise ConfigError(
            f"{url} holds {{partition}}, but this command reads the volume",
            "give one partition's URL, and put {partition} into the config afterwards",
        )
    levels = list(read_levels(url, NOTHING_GIVEN))
    if levels[0].channels < 3:
        raise ConfigError(
            f"{url} has {several(levels[0].channels, 'channel')}; an affinity map has one each for z, y and x",
            "give the affinity map; is this an image, a segmentation or a boundary map?",
        )
    if likely_axes(levels[0]) == levels[0].axes:  # else its axes are asked for first
        config = Answers({**COMPLETE, "paths.input": url, "input.channels": [0, 1, 2]}).config()
        check_input(config, levels[0])
    return levels


def described(info: VolumeInfo) -> str:
    """A level in one line: shape, voxel size, channels, format."""
    shape = " x ".join(map(str, info.box.shape))
    return f"{shape} voxels (z, y, x) of {info.size_words} nm, {several(info.channels, 'channel')} of {info.dtype}, {info.format}"
