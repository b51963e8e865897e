"""Configs and volume facts for tests that plan without any files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3
from magneton_tasks.config.read import RunConfig, parse_config
from magneton_tasks.plan.volume_facts import VolumeFacts

MINIMAL = """\
paths:
  input: file:///data/affinity
  output: file:///data/segmentation
  work: /data/work
"""


#: The same by a method that reads more keys.
OVERLAP = MINIMAL + "method: overlap\n"


def a_config(sets: Mapping[str, Any] | None = None, partition: str | None = None) -> RunConfig:
    """A config of the overlap method with ``sets`` by dotted key; all else is the default."""
    return parse_config(OVERLAP, "volume.yaml", sets, partition)


def a_volume(
    shape: Vec3 = (256, 256, 256), begin: Vec3 = (0, 0, 0), voxel_size_nm: Size3 = (40.0, 8.0, 8.0)
) -> VolumeFacts:
    return VolumeFacts(Box.of_shape(shape, begin), voxel_size_nm, (64, 64, 64), "uint8", 3)
