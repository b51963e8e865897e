"""Boxes of stored arrays, whatever the order of their axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.info import VolumeInfo

Array = npt.NDArray[Any]


def read_box(stored: Any, info: VolumeInfo, box: Box, channels: slice) -> Array:
    """The voxels of a box as (c, z, y, x), C order, in the volume's dtype.

    Parameters
    ----------
    stored
        What is indexed as an array of `VolumeInfo.axes`, and reads what the index names.
    """
    inside = dict(zip("zyx", box.slices(info.box.begin), strict=True), c=channels)
    index = tuple(0 if a == "t" else inside.get(a, slice(None)) for a in info.axes)
    found = np.asarray(stored[index])
    axes = info.axes.replace("t", "")
    if "c" not in axes:
        axes, found = "c" + axes, found[np.newaxis]
    found = found.transpose([axes.index(a) for a in "czyx"])
    return np.ascontiguousarray(found, dtype=info.dtype)
