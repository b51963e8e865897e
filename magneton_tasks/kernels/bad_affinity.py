"""The error for affinities that can't be, wherever they are met: in a file or in a block."""

from __future__ import annotations

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.errors import BadDataError


class BadAffinityError(BadDataError):
    """An affinity that isn't in [0, 1]; ``voxel`` counts from the array's corner."""

    def __init__(self, value: float, channel: int, voxel: Vec3, where: str = "") -> None:
        super().__init__(
            f"{where}affinity {value:.9g} at voxel {voxel} (z, y, x), channel {channel} of z, y, x, "
            "isn't in [0, 1]",
            "check input.scale and the volume's data type; NaN stands for missing data in some "
            "tools: write 0 there",
        )
        self.value, self.channel, self.voxel = value, channel, voxel

    def placed(self, origin: Vec3, where: str) -> BadDataError:
        """The same error in the frame of an array whose corner is ``origin``."""
        voxel = vec3(v + o for v, o in zip(self.voxel, origin, strict=True))
        placed = BadAffinityError(self.value, self.channel, voxel, where)
        return BadDataError(placed.what, placed.hint)
