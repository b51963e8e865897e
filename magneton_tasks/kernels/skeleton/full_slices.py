"""Radii in an object that fills whole slices of a cell, as a soma does.

The library takes the edges of such a slice for the object's boundary, also where it goes on behind
them; so these radii are measured here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from magneton_tasks.base.geometry import Size3
from magneton_tasks.kernels.skeleton.fragment import Float32, Int64


def filling(numbers: NDArray[np.uint32]) -> set[int]:
    """The objects that fill a slice across z: uint32 (z, y, x) -> their numbers."""
    slices = numbers.reshape(len(numbers), -1)
    first = slices[:, 0]
    return set(first[(slices == first[:, None]).all(1)].tolist()) - {0}


def radii_nm(
    mask: NDArray[np.bool_], vertices: Int64, faces: Sequence[tuple[int, str]], size_nm: Size3
) -> Float32:
    """The distance to the object's boundary at vertices, int64 (n, 3), counted from the mask's begin.

    Behind ``faces`` the object goes on; inf: it has no boundary in sight.
    """
    beyond = [[int((axis, side) not in faces) for side in ("low", "high")] for axis in range(3)]
    padded = np.pad(mask, beyond)
    if padded.all():
        return np.full(len(vertices), np.inf, np.float32)
    distances = distance_transform_edt(padded, sampling=size_nm)
    found: Float32 = distances[tuple((vertices + [low for low, _ in beyond]).T)].astype(np.float32)
    return found
