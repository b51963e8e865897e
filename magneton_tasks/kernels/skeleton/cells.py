"""The skeletons of a cell's objects, such that they meet those of its neighbours.

A cell holds a plane of voxels more on each high side where the volume goes on, so that two neighbours
have it in common. On each patch of an object in that plane, both find the same voxel, the patch's
middle, and lead a path to it: there they are joined::

      cell A      plane     cell B
    -----o----------*----------o----
                 middle of the patch

TEASAR: Sato et al., TEASAR: Tree-structure extraction algorithm for accurate and robust skeletons,
Pacific Graphics 2000.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bioimage_cpp.skeleton import distributed
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3
from magneton_tasks.kernels.skeleton import full_slices
from magneton_tasks.kernels.skeleton.fragment import Fragment, Int64
from magneton_tasks.kernels.skeleton.rules import Rules

#: Objects that are worked at a time: the library takes some 3 kB for each.
AT_ONCE = 1 << 15


def fragments(
    numbers: NDArray[np.uint32],
    planes: tuple[Int64, Int64],
    box: Box,
    volume: Box,
    rules: Rules,
    at_once: int = AT_ONCE,
) -> Iterator[tuple[int, Fragment]]:
    """The skeletons of a cell.

    Parameters
    ----------
    numbers
        uint32 (z, y, x): number of the object in each voxel, 0: none. Of ``box``, and one plane more
        on each high side where the volume goes on.
    planes
        int64 (n,) each: first plane along z of the objects 1 to n, and the one after their last.
    box, volume
        In voxels of the mip.
    at_once
        Objects that are worked at a time, so that a million tiny ones need no more memory.

    Yields
    ------
    tuple
        Number and skeleton.
    """
    faces = open_faces(box, volume)
    targets = distributed.block_border_targets_labels(
        numbers, faces, origin=box.begin, spacing=rules.voxel_size_nm
    )
    low, high = planes
    order = np.argsort(low, kind="stable")
    for begin in range(0, len(order), at_once):
        some = order[begin : begin + at_once]
        first, last = int(low[some].min()), int(high[some].max())
        part = numbers[first:last]
        if len(some) < len(order):
            names = np.zeros(len(order) + 1, np.uint32)
            names[some + 1] = some + 1
            part = names[part]
        part = np.ascontiguousarray(part)
        open_here = [face for face in faces if _has(face, first, last, len(numbers))]
        begin_here = (box.begin[0] + first, *box.begin[1:])
        needed = {n: targets[n] for n in (some + 1).tolist() if n in targets}
        yield from _worked(part, open_here, begin_here, needed, rules)


def _worked(
    numbers: NDArray[np.uint32],
    faces: list[tuple[int, str]],
    begin: Vec3,
    targets: dict[int, Int64],
    rules: Rules,
) -> Iterator[tuple[int, Fragment]]:
    size = rules.voxel_size_nm
    found = distributed.block_teasar_labels(
        numbers,
        open_faces=faces,
        origin=begin,
        required_targets=targets,
        spacing=size,
        scale=rules.scale,
        constant=rules.const_nm,
    )
    filling = full_slices.filling(numbers)
    for number, (vertices, edges, radii) in found.items():
        if number in filling:
            inside = vertices - np.asarray(begin)
            radii = full_slices.radii_nm(numbers == number, inside, faces, size)
        yield number, Fragment.of(vertices, edges, radii)


def _has(face: tuple[int, str], first: int, last: int, planes: int) -> bool:
    """Whether the planes ``first`` to ``last`` along z of so many meet a face."""
    axis, side = face
    return axis > 0 or (first == 0 if side == "low" else last == planes)


def open_faces(box: Box, volume: Box) -> list[tuple[int, str]]:
    """Axis and side of the faces behind which the volume goes on."""
    low = [(axis, "low") for axis in range(3) if box.begin[axis] > volume.begin[axis]]
    return low + [(axis, "high") for axis in range(3) if box.end[axis] < volume.end[axis]]


def in_one_shared_plane(low: Int64, high: Int64, box: Box) -> NDArray[np.bool_]:
    """Which objects a cell holds in a plane alone that it shares: a neighbour has all of these voxels too.

    Parameters
    ----------
    low, high
        int64 (3, n): the box of each object in the cell, half-open, counted from the cell's begin.
    """
    edges = np.asarray(box.shape, np.int64)[:, None]
    return np.asarray(((low >= edges) & (high == edges + 1)).any(0))
