"""The faces of a block, and positions beyond it: what the join needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.contacts import ordered_by
from magneton_tasks.kernels.exact.faces import Face, Faces, Side
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.residual import BasinPairs, Int64, Mask, UInt8, UInt32

#: Of each axis: whether the (low, high) face has a neighbour behind it.
Inner = tuple[tuple[bool, bool], tuple[bool, bool], tuple[bool, bool]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block lies in the volume, which is the segmented box."""

    block: int
    """Its index in the grid."""
    origin: Vec3
    """Its first voxel, from the begin of the box."""
    volume: Vec3
    """The box's shape."""
    inner: Inner

    @classmethod
    def of(cls, grid: Grid, block: int) -> Place:
        """The place of a block of a grid."""
        core, at, whole = grid.core(block), grid.index3(block), grid.box
        z, y, x = ((p > 0, p + 1 < n) for p, n in zip(at, grid.shape, strict=True))
        origin = vec3(c - b for c, b in zip(core.begin, whole.begin, strict=True))
        return cls(block, origin, whole.shape, (z, y, x))


def inner_sides(inner: Inner) -> list[Side]:
    """The faces with a neighbour behind them."""
    return [(axis, side) for axis in range(3) for side in range(2) if inner[axis][side]]


def plane(voxels: NDArray[np.generic], side: Side) -> NDArray[np.generic]:
    """The plane of voxels at a face, (z, y, x) without that axis; a view."""
    index: list[slice | int] = [slice(None)] * 3
    index[side[0]] = -1 if side[1] else 0
    return voxels[tuple(index)]


def sides_of_basins(labels: UInt32, n: int, inner: Inner) -> UInt8:
    """On which faces with a neighbour a basin lies: uint8 (n + 1,), bits of `Basins.sides`."""
    sides = np.zeros(n + 1, np.uint8)
    for axis, side in inner_sides(inner):
        _add_side(sides, plane(labels, (axis, side)).flatten(), np.uint8(1 << (2 * axis + side)))
    sides[0] = 0
    return sides


@njit(nogil=True)
def _add_side(sides: UInt8, basins: NDArray[np.generic], bit: np.uint8) -> None:
    for basin in basins:
        sides[basin] |= bit


def make_faces(
    affinity: UInt8,
    labels: UInt32,
    face_numbers: UInt32,
    picks: Mapping[Side, Mask],
    inner: Inner,
) -> Faces:
    """The faces with a neighbour behind them.

    Parameters
    ----------
    affinity, labels, picks
        As for and of `basins.label_basins`.
    face_numbers
        uint32 (n + 1,): number of each basin among those on faces; 0 of the others.
    """
    return {
        side: Face(
            face_numbers[plane(labels, side)],
            picks[side],
            np.array(plane(affinity[side[0]], side), np.uint8) if side[1] == 0 else None,
        )
        for side in inner_sides(inner)
    }


def best_pairs(pairs: Int64, face_numbers: UInt32) -> BasinPairs:
    """Pairs of basins on faces with their largest key: no other can be anyone's best edge.

    ``pairs``: int64 (edges, 3), see `clean_up.BestEdges`. Sorted by (a, b), a < b.
    """
    a, b, key = _best_by_pair(pairs, face_numbers)
    order = np.arange(a.size, dtype=np.uint32)
    for ends in (b, a):
        order = ordered_by(ends, order, int(face_numbers.max(initial=0)))
    return BasinPairs(a[order], b[order], key[order])


@njit(nogil=True)
def _best_by_pair(pairs: Int64, face_numbers: UInt32) -> tuple[UInt32, UInt32, Int64]:
    """One row a pair, by a: a counting sort, then one slot for each b."""
    highest = np.int64(face_numbers.max())
    starts = np.zeros(highest + 2, np.int64)
    ends = np.empty((pairs.shape[0], 2), np.uint32)
    for k in range(pairs.shape[0]):
        first, second = face_numbers[pairs[k, 0]], face_numbers[pairs[k, 1]]
        ends[k, 0] = min(first, second)
        ends[k, 1] = max(first, second)
        starts[ends[k, 0] + 1] += 1
    for i in range(1, highest + 2):
        starts[i] += starts[i - 1]
    order = np.empty(pairs.shape[0], np.int64)
    for k in range(pairs.shape[0]):
        order[starts[ends[k, 0]]] = k
        starts[ends[k, 0]] += 1
    a, b = np.empty(order.size, np.uint32), np.empty(order.size, np.uint32)
    key = np.empty(order.size, np.int64)
    slot = np.full(highest + 1, -1, np.int64)
    count = 0
    begin = 0
    for q in range(order.size):
        low, high = ends[order[q], 0], ends[order[q], 1]
        if count > 0 and a[count - 1] != low:
            begin = count
        if slot[high] < begin:
            slot[high] = count
            a[count], b[count], key[count] = low, high, pairs[order[q], 2]
            count += 1
        else:
            key[slot[high]] = max(key[slot[high]], pairs[order[q], 2])
    return a[:count], b[:count], key[:count]


def positions_in_volume(positions: Int64, shape: Vec3, origin: Vec3, volume: Vec3) -> Int64:
    """Positions of voxel edges of a block at ``origin``, in the order of the whole volume.

    Parameters
    ----------
    positions
        int64 (edges,): 3 * (index of the voxel in the block) + axis.
    shape, origin, volume
        The block's shape, and where it begins in a volume of what shape.
    """
    return _positions_in_volume(positions, shape, origin, volume)


def keys_in_volume(keys: Int64, shape: Vec3, origin: Vec3, volume: Vec3) -> Int64:
    """The same of keys; 0, which is none, stays 0."""
    return _keys_in_volume(keys, shape, origin, volume)


@njit(nogil=True)
def _positions_in_volume(positions: Int64, shape: Vec3, origin: Vec3, volume: Vec3) -> Int64:
    moved = np.empty_like(positions)
    for k in range(positions.size):
        moved[k] = _moved(positions[k], shape, origin, volume)
    return moved


@njit(nogil=True)
def _keys_in_volume(keys: Int64, shape: Vec3, origin: Vec3, volume: Vec3) -> Int64:
    moved = np.zeros_like(keys)
    for k in range(keys.size):
        if keys[k] != 0:
            affinity = -(-keys[k] >> KEY_BITS) << KEY_BITS
            moved[k] = affinity - _moved(affinity - keys[k], shape, origin, volume)
    return moved


@njit(nogil=True)
def _moved(position: np.int64, shape: Vec3, origin: Vec3, volume: Vec3) -> np.int64:
    voxel = position // 3
    row = voxel // shape[2]
    plane = row // shape[1]
    x = voxel - row * shape[2] + origin[2]
    y = row - plane * shape[1] + origin[1]
    z = plane + origin[0]
    return np.int64(3 * ((z * volume[1] + y) * volume[2] + x) + position - 3 * voxel)
