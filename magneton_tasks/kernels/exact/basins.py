"""Basins: the supervoxels that the exact method starts from.

Each voxel picks the best of its six edges, and is one with the voxel behind it; so are voxels with
an edge of t_high between them. Ties go to the edge with the lowest position, which is the first in
the order z-, y-, x-, x+, y+, z+ of the directions. A voxel without an edge of t_low is background.

A voxel's edges are three of its own and one of each next voxel; beyond the high faces those are the
planes that the block step is given. Whoever picks an edge that crosses a face is noted for the join.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.faces import Side
from magneton_tasks.kernels.exact.residual import Mask, UInt8, UInt32
from magneton_tasks.kernels.union_find import unite

UInt16 = NDArray[np.uint16]
Int32 = NDArray[np.int32]
#: The planes beyond the high faces, in the order of the axes.
Planes = tuple[UInt8, UInt8, UInt8]

_BACKGROUND = np.uint32(0xFFFFFFFF)
#: Directions in the order of their edges' positions.
_Z_LOW, _Y_LOW, _X_LOW, _X_HIGH, _Y_HIGH, _Z_HIGH = range(6)
_SIDES: tuple[Side, ...] = ((0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1))


class BasinLabels(NamedTuple):
    """The basins of a block."""

    labels: UInt32
    """(z, y, x): 1..n in the order of first voxels; 0: background."""
    sizes: Int32
    """(n + 1,): voxels of each; 0 of the background."""
    picks: dict[Side, Mask]
    """For each face, in the order of the other two axes: voxels whose pick crosses it."""


def label_basins(affinity: UInt8, high: Planes, t_low: int, t_high: int) -> BasinLabels:
    """Basins of a block; 4 B a voxel and 4 B a basin, all of it in the result.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    high
        uint8 (y, x), (z, x) and (z, y).
    t_low, t_high
        See `ExactSettings`; 1 <= t_low <= t_high.
    """
    nz, ny, nx = affinity.shape[1:]
    plane_shapes = ((ny, nx), (nz, nx), (nz, ny))
    picks = tuple(np.zeros(plane_shapes[axis], np.bool_) for axis, _ in _SIDES)
    parents = np.arange(nz * ny * nx, dtype=np.uint32)
    _join_voxels(affinity, *high, t_low, t_high, parents, picks)
    sizes = np.zeros(_count_roots(parents) + 1, np.int32)
    _number(parents, sizes)
    labels = parents.reshape(nz, ny, nx)
    return BasinLabels(labels, sizes, dict(zip(_SIDES, picks, strict=True)))


@njit(nogil=True)
def _join_voxels(
    affinity: UInt8,
    high_z: UInt8,
    high_y: UInt8,
    high_x: UInt8,
    t_low: int,
    t_high: int,
    parents: UInt32,
    picks: tuple[Mask, ...],
) -> None:
    """Join voxels in ``parents``, row by row; background gets a parent of its own kind."""
    _, nz, ny, nx = affinity.shape
    best = np.empty(nx, np.uint16)
    steps = np.empty(6, np.int64)
    first = 0
    for z in range(nz):
        for y in range(ny):
            next_z = affinity[0, z + 1, y] if z + 1 < nz else high_z[y]
            next_y = affinity[1, z, y + 1] if y + 1 < ny else high_y[z]
            row_z, row_y, row_x = affinity[0, z, y], affinity[1, z, y], affinity[2, z, y]
            _find_best(row_z, row_y, row_x, high_x[z, y], next_y, next_z, best)
            _note_crossing(best, z, y, nz, ny, t_low, picks)
            steps[_Z_LOW] = -ny * nx if z > 0 else 0
            steps[_Y_LOW] = -nx if y > 0 else 0
            steps[_X_LOW] = -1
            steps[_X_HIGH] = 1
            steps[_Y_HIGH] = nx if y + 1 < ny else 0
            steps[_Z_HIGH] = ny * nx if z + 1 < nz else 0
            _join_picks(best, steps, t_low, t_high, parents, first)
            if z > 0:
                _join_high(row_z, 0, ny * nx, t_high, parents, first)
            if y > 0:
                _join_high(row_y, 0, nx, t_high, parents, first)
            _join_high(row_x, 1, 1, t_high, parents, first)
            first += nx


@njit(nogil=True)
def _find_best(
    row_z: UInt8,
    row_y: UInt8,
    row_x: UInt8,
    last_x: int,
    next_y: UInt8,
    next_z: UInt8,
    best: UInt16,
) -> None:
    """For a row of voxels: affinity << 3 | 5 - direction of the best edge.

    All in uint16 and without branches, so that it compiles to vector instructions.
    """
    for x in range(best.size):
        next_x = row_x[x + 1] if x + 1 < best.size else last_x
        low = max(max(_ranked(row_z[x], 5), _ranked(row_y[x], 4)), _ranked(row_x[x], 3))
        up = max(max(_ranked(next_x, 2), _ranked(next_y[x], 1)), _ranked(next_z[x], 0))
        best[x] = max(low, up)


@njit(nogil=True)
def _ranked(affinity: int, rank: int) -> np.uint16:
    return np.uint16(np.uint16(np.uint16(affinity) << np.uint16(3)) | np.uint16(rank))


@njit(nogil=True)
def _picks(best: int, direction: int, t_low: int) -> bool:
    """Whether a voxel's best edge is one that it picks, in this direction."""
    return (best & 7) == 5 - direction and (best >> 3) >= t_low


@njit(nogil=True)
def _note_crossing(
    best: UInt16, z: int, y: int, nz: int, ny: int, t_low: int, picks: tuple[Mask, ...]
) -> None:
    """Picks of a row that leave the block."""
    for x in range(best.size):
        if z == 0:
            picks[_Z_LOW][y, x] = _picks(best[x], _Z_LOW, t_low)
        if z == nz - 1:
            picks[_Z_HIGH][y, x] = _picks(best[x], _Z_HIGH, t_low)
        if y == 0:
            picks[_Y_LOW][z, x] = _picks(best[x], _Y_LOW, t_low)
        if y == ny - 1:
            picks[_Y_HIGH][z, x] = _picks(best[x], _Y_HIGH, t_low)
    picks[_X_LOW][z, y] = _picks(best[0], _X_LOW, t_low)
    picks[_X_HIGH][z, y] = _picks(best[-1], _X_HIGH, t_low)


@njit(nogil=True)
def _join_picks(
    best: UInt16,
    steps: NDArray[np.int64],
    t_low: int,
    t_high: int,
    parents: UInt32,
    first: int,
) -> None:
    """Join each voxel of the row that begins at ``first`` with its pick, where that is inside.

    Those across edges of t_high are left to `_join_high`. ``steps``: from a voxel to the one behind
    it in each direction, 0 if that is outside; for x it is here that ends of the row are minded.
    """
    end = best.size - 1
    for x in range(best.size):
        affinity = best[x] >> 3
        if affinity < t_low:
            parents[first + x] = _BACKGROUND
            continue
        if affinity >= t_high:
            continue
        direction = 5 - (best[x] & 7)
        outside = (x == 0 and direction == _X_LOW) or (x == end and direction == _X_HIGH)
        if steps[direction] != 0 and not outside:
            unite(parents, first + x, first + x + steps[direction])


@njit(nogil=True)
def _join_high(row: UInt8, begin: int, step: int, t_high: int, parents: UInt32, first: int) -> None:
    """Join voxels of a row, from ``begin`` on, with those before them across edges of t_high."""
    for x in range(begin, row.size):
        i = first + x
        if row[x] >= t_high and parents[i] != parents[i - step]:
            unite(parents, i, i - step)


@njit(nogil=True)
def _count_roots(parents: UInt32) -> int:
    count = 0
    for i in range(parents.size):
        count += parents[i] == i
    return count


@njit(nogil=True)
def _number(parents: UInt32, sizes: Int32) -> None:
    """Turn parents into labels in place, and count voxels.

    Parents point backwards, so that what a voxel points to is a label by the time it is reached.
    """
    count = 0
    for i in range(parents.size):
        if parents[i] == _BACKGROUND:
            parents[i] = 0
            continue
        if parents[i] == i:
            count += 1
            parents[i] = count
        else:
            parents[i] = parents[parents[i]]
        sizes[parents[i]] += 1
