"""Objects measured in voxels: size, box, centre."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.object_sums import Int64, ObjectSums

UInt32 = NDArray[np.uint32]
Edge = TypeVar("Edge", np.uint16, np.uint32)
_MOST_SHORT = np.iinfo(np.uint16).max


class Measured:
    """Adds up objects of a cell, part by part; 44 bytes each.

    Parameters
    ----------
    ids
        uint64 (n,), ascending, 0 first: the background, which isn't counted.
    cell
        In voxels.
    """

    def __init__(self, ids: NDArray[np.uint64], cell: Box) -> None:
        self._ids, self._begin = ids, cell.begin
        # an axis of a cell that is longer is out of the ordinary, and so is its memory
        edge = np.uint16 if max(cell.shape) <= _MOST_SHORT else np.uint32
        self._voxels = np.zeros(ids.size, np.int64)
        self._low = np.full((3, ids.size), np.iinfo(edge).max, edge)
        self._high = np.zeros((3, ids.size), edge)
        self._total = np.zeros((3, ids.size), np.int64)

    def add(self, indices: UInt32, begin: Vec3) -> None:
        """Add voxels: uint32 (z, y, x), C order, indices into the ids; ``begin``: of the first voxel."""
        z, y, x = (b - own for b, own in zip(begin, self._begin, strict=True))
        _add(indices, z, y, x, self._voxels, self._low, self._high, self._total)

    @property
    def voxels(self) -> int:
        """Of all objects."""
        return int(self._voxels.sum())

    def sums(self, origin: Vec3) -> ObjectSums:
        """Of the objects that have voxels; ``origin``: the volume's begin."""
        there = np.flatnonzero(self._voxels)
        voxels = self._voxels[there]
        boxes = (
            corner[there].astype(np.int64) + b
            for corners in (self._low, self._high)
            for corner, b in zip(corners, self._begin, strict=True)
        )
        total = (
            sums[there] + (b - o) * voxels
            for sums, b, o in zip(self._total, self._begin, origin, strict=True)
        )
        return ObjectSums(self._ids[there], voxels, *boxes, *total)


def boxes_and_sums(labels: UInt32, count: int) -> tuple[UInt32, UInt32, Int64]:
    """First and last (+ 1) coordinates, and their sums, of the labels 1 to ``count``: (3, count) each.

    ``labels``: uint32 (z, y, x); coordinates count from its first voxel.
    """
    voxels = np.zeros(count + 1, np.int64)
    low = np.full((3, count + 1), np.iinfo(np.uint32).max, np.uint32)
    high, total = np.zeros((3, count + 1), np.uint32), np.zeros((3, count + 1), np.int64)
    _add(labels, 0, 0, 0, voxels, low, high, total)
    return low[:, 1:], high[:, 1:], total[:, 1:]


@njit(nogil=True)
def _add(
    indices: UInt32,
    z0: int,
    y0: int,
    x0: int,
    voxels: Int64,
    low: NDArray[Edge],
    high: NDArray[Edge],
    total: Int64,
) -> None:
    """Run by run along x."""
    nz, ny, nx = indices.shape
    for z in range(nz):
        for y in range(ny):
            x = 0
            while x < nx:
                k = indices[z, y, x]
                begin = x
                x += 1
                while x < nx and indices[z, y, x] == k:
                    x += 1
                if k == 0:
                    continue
                run = x - begin
                voxels[k] += run
                low[0, k] = min(low[0, k], np.uint32(z0 + z))
                low[1, k] = min(low[1, k], np.uint32(y0 + y))
                low[2, k] = min(low[2, k], np.uint32(x0 + begin))
                high[0, k] = max(high[0, k], np.uint32(z0 + z + 1))
                high[1, k] = max(high[1, k], np.uint32(y0 + y + 1))
                high[2, k] = max(high[2, k], np.uint32(x0 + x))
                total[0, k] += (z0 + z) * run
                total[1, k] += (y0 + y) * run
                total[2, k] += x0 * run + run * (begin + x - 1) // 2
