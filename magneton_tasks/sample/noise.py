"""Smooth random fields, evaluated where they are needed (no array of the volume's size)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit


def lattice(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Random values for `value_noise` over ``shape`` voxels, a node each ``spacing`` voxels.

    Scaled so that the interpolated field has a standard deviation of about 1.
    """
    nodes = [int(n / s) + 3 for n, s in zip(shape, spacing, strict=True)]
    # Trilinear interpolation of unit normals has a variance of (2/3)^3 on average.
    return (rng.standard_normal(nodes, np.float32) * np.float32(1.5**1.5)).astype(np.float32)


@njit(nogil=True, inline="always")
def value_noise(nodes: NDArray[np.float32], z: float, y: float, x: float) -> np.float32:
    """The trilinear interpolation of ``nodes`` at z, y, x, counted in nodes (not negative)."""
    iz, iy, ix = int(z), int(y), int(x)
    fz, fy, fx = np.float32(z - iz), np.float32(y - iy), np.float32(x - ix)
    low, high = nodes[iz, iy], nodes[iz, iy + 1]
    near = (low[ix] * (1 - fx) + low[ix + 1] * fx) * (1 - fy)
    near += (high[ix] * (1 - fx) + high[ix + 1] * fx) * fy
    low, high = nodes[iz + 1, iy], nodes[iz + 1, iy + 1]
    far = (low[ix] * (1 - fx) + low[ix + 1] * fx) * (1 - fy)
    far += (high[ix] * (1 - fx) + high[ix + 1] * fx) * fy
    return np.float32(near * (1 - fz) + far * fz)
