"""The rules of skeletons."""

from __future__ import annotations

from dataclasses import dataclass

from magneton_tasks.base.geometry import Size3


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides which branches an object has.

    Attributes
    ----------
    voxel_size_nm
        (z, y, x).
    scale, const_nm
        A path covers what lies within ``scale`` * radius + ``const_nm`` of it along each axis: there
        no other branch begins.
    tick_nm
        Shorter branches are left out.
    """

    voxel_size_nm: Size3
    scale: float
    const_nm: float
    tick_nm: float
