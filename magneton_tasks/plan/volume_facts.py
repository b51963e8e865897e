"""What a plan keeps of the input volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.formats.info import VolumeInfo


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What a plan keeps of the input volume; see :class:`magneton_tasks.formats.info.VolumeInfo`."""

    box: Box
    voxel_size_nm: Size3
    chunk_size: Vec3
    dtype: str
    channels: int

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> VolumeFacts:
        """Back from what JSON makes of it."""
        box = Box(vec3(data["box"]["begin"]), vec3(data["box"]["end"]))
        z, y, x = data["voxel_size_nm"]
        return cls(box, (z, y, x), vec3(data["chunk_size"]), data["dtype"], data["channels"])

    @classmethod
    def of(cls, info: VolumeInfo) -> VolumeFacts:
        return cls(info.box, info.voxel_size_nm, info.chunk_size, info.dtype, info.channels)
