"""Supervoxels from seeds: distance transform, maxima, seeded watershed on the boundary map.

The known recipe of the CREMI and LSD pipelines (``watershed_from_affinities``, and
``maxima_distance`` of waterz's older tools), in the form of the menu tool:

1. inside = voxels whose mean affinity is above ``interior_threshold``;
2. squared distance to the nearest voxel that isn't inside;
3. seeds = connected plateaus of it that are maximal within ``min_distance`` voxels;
4. the seeds flood the boundary map (1 - mean affinity) level by level over shared faces.

``3d`` takes the mean of three channels and works on the block; ``2d`` takes the mean of y and x
and works section by section (merging joins the sections). Every foreground voxel that a seed
reaches gets a fragment; foreground has an affinity above ``low``, so masked voxels (all their
affinities are 0) and empty padding stay 0. Voxels count as isotropic, as in the models.

Distances don't look beyond the block or section: where nothing is outside, it is one seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit

FRAGMENT_DTYPE = np.uint64
#: Levels of the flooded boundary map. Affinities come in 8 bits as a rule.
_LEVELS = 256

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]


def seeded_fragments(
    affinity: Float32,
    *,
    per_section: bool,
    low: float,
    interior_threshold: float,
    min_distance: int,
) -> NDArray[np.uint64]:
    """Fragments for waterz: uint64 (z, y, x), dense 1..n, 0 = background.

    Parameters
    ----------
    affinity
        float32 (3, z, y, x) in [0, 1]; index 0 along an axis is read like any other.
    per_section
        True: the ``2d`` recipe, False: ``3d``.
    low
        A voxel with no edge above this is background.
    interior_threshold
        Mean affinity above which a voxel is inside.
    min_distance
        Seeds are at least this many voxels apart, in the chessboard metric.
    """
    fragments = np.zeros(affinity.shape[1:], FRAGMENT_DTYPE)
    level, inside = _boundary(affinity, per_section, np.float32(low), interior_threshold)
    seeds = 0
    if per_section:
        for z in range(inside.shape[0]):
            seeds = _add_seeds(fragments[z], inside[z], min_distance, seeds)
    else:
        seeds = _add_seeds(fragments, inside, min_distance, seeds)
    del inside
    if seeds:
        _flood(level, fragments, per_section)
    return fragments


def _add_seeds(
    fragments: NDArray[np.uint64], inside: NDArray[np.bool_], min_distance: int, first: int
) -> int:
    """Write seeds numbered from ``first`` + 1 into ``fragments``; the number of the last."""
    if not inside.any():
        return first
    if inside.all():
        fragments[...] = first + 1  # no boundary to be distant from
        return first + 1
    from scipy import ndimage  # takes longer to import than all of numba

    nearest = ndimage.distance_transform_edt(inside, return_distances=False, return_indices=True)
    distance = _squared_distance(nearest.reshape(inside.ndim, -1), np.array(inside.shape))
    del nearest
    distance = distance.reshape(inside.shape)
    window = 2 * min_distance + 1
    peaks = ndimage.maximum_filter(distance, size=window, mode="nearest") == distance
    peaks &= inside
    seeds, count = ndimage.label(peaks)
    np.add(seeds, first, out=fragments, where=peaks, casting="unsafe")
    return first + int(count)


@njit(nogil=True)
def _squared_distance(nearest: Int32, shape: NDArray[np.int64]) -> Int32:
    """Squared distance of each voxel to its nearest outside voxel, int32, flat.

    ``nearest``: int32 (dimensions, voxels), coordinates of that voxel.
    """
    out = np.zeros(nearest.shape[1], np.int32)
    for i in range(out.size):
        rest = i
        total = 0
        for d in range(shape.size - 1, -1, -1):
            delta = nearest[d, i] - rest % shape[d]
            total += delta * delta
            rest //= shape[d]
        out[i] = total
    return out


@njit(nogil=True)
def _boundary(
    affinity: Float32, per_section: bool, low: np.float32, interior_threshold: float
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Level of the boundary map (-1: background) and whether a voxel is inside."""
    _, nz, ny, nx = affinity.shape
    level = np.full((nz, ny, nx), -1, np.int16)
    inside = np.zeros((nz, ny, nx), np.bool_)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                best = np.float32(0.0)
                if z > 0:
                    best = max(best, affinity[0, z, y, x])
                if y > 0:
                    best = max(best, affinity[1, z, y, x])
                if x > 0:
                    best = max(best, affinity[2, z, y, x])
                if z + 1 < nz:
                    best = max(best, affinity[0, z + 1, y, x])
                if y + 1 < ny:
                    best = max(best, affinity[1, z, y + 1, x])
                if x + 1 < nx:
                    best = max(best, affinity[2, z, y, x + 1])
                if best <= low:
                    continue
                mean = (affinity[1, z, y, x] + affinity[2, z, y, x]) / 2.0
                if not per_section:
                    mean = (2.0 * mean + affinity[0, z, y, x]) / 3.0
                level[z, y, x] = round((1.0 - mean) * (_LEVELS - 1))
                inside[z, y, x] = mean > interior_threshold
    return level, inside


@njit(nogil=True)
def _flood(level: NDArray[np.int16], fragments: NDArray[np.uint64], per_section: bool) -> None:
    """Grow the seeds in ``fragments`` over all voxels with a level, lowest levels first.

    A queue per level, first in, first out, as linked lists in one array; a voxel is queued once,
    by the neighbour that reaches it first. Levels below the current one are taken at once.
    """
    nz, ny, nx = level.shape
    height = level.reshape(-1)
    ids = fragments.reshape(-1)
    following = np.full(height.size, -1, np.int64)
    head = np.full(_LEVELS, -1, np.int64)
    tail = np.full(_LEVELS, -1, np.int64)
    for i in range(height.size):
        if ids[i] != 0 and height[i] >= 0:
            _push(i, height[i], head, tail, following)
    at = 0
    while at < _LEVELS:
        i = head[at]
        if i < 0:
            at += 1
            continue
        head[at] = following[i]
        z, y, x = i // (ny * nx), i // nx % ny, i % nx
        for side in range(6):
            if side < 2 and per_section:
                continue
            step = -1 if side % 2 == 0 else 1
            axis = side // 2
            z2 = z + (step if axis == 0 else 0)
            y2 = y + (step if axis == 1 else 0)
            x2 = x + (step if axis == 2 else 0)
            if not (0 <= z2 < nz and 0 <= y2 < ny and 0 <= x2 < nx):
                continue
            j = (z2 * ny + y2) * nx + x2
            if ids[j] == 0 and height[j] >= 0:
                ids[j] = ids[i]
                _push(j, max(height[j], at), head, tail, following)


@njit(nogil=True)
def _push(
    i: int,
    level: int,
    head: NDArray[np.int64],
    tail: NDArray[np.int64],
    following: NDArray[np.int64],
) -> None:
    """Queue voxel i behind the others of its level."""
    following[i] = -1
    if head[level] < 0:
        head[level] = i
    else:
        following[tail[level]] = i
    tail[level] = i
