"""Surfaces of all labels of a box in one pass: marching cubes, in the middle between two voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.mesh.cube_cases import EDGES, make_cases

_COUNTS, _CUTS = make_cases()
#: Of each edge of a cube: its lower corner, its upper one, its axis.
_EDGES = np.array([(c, c | 4 >> axis, axis) for c, axis in EDGES], np.int64)


@dataclass(frozen=True)
class Meshes:
    """Triangles of several objects, one object after the other.

    Attributes
    ----------
    labels
        int64 (k,), ascending: of which object each mesh is.
    vertices
        float32 (n, 3): x, y, z.
    faces
        int32 (m, 3): places in ``vertices``; outward by the right hand.
    vertex_starts, face_starts
        int64 (k + 1,): where those of each object begin.
    """

    labels: NDArray[np.int64]
    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    vertex_starts: NDArray[np.int64]
    face_starts: NDArray[np.int64]

    def one(self, k: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Vertices and faces of the k-th object alone."""
        begin, end = self.vertex_starts[k], self.vertex_starts[k + 1]
        faces = self.faces[self.face_starts[k] : self.face_starts[k + 1]]
        return self.vertices[begin:end], faces - np.int32(begin)


def surfaces(numbers: NDArray[np.uint32], wanted: NDArray[np.bool_]) -> Meshes:
    """The surfaces of labels, open where they meet the faces of the box.

    Parameters
    ----------
    numbers
        uint32 (z, y, x), of at least 2 voxels along each axis; voxel centres lie at whole numbers.
    wanted
        bool (n,), by label: which get one; 0 is the background, and gets none.

    Returns
    -------
    Meshes
        Vertices in voxels from the first voxel's centre on.
    """
    faces_of = np.zeros(len(wanted), np.int64)
    _count(numbers, wanted, _COUNTS, faces_of)
    labels = np.flatnonzero(faces_of)
    starts = np.zeros(len(labels) + 1, np.int64)
    np.cumsum(faces_of[labels], out=starts[1:])
    faces_of[labels] = starts[:-1]
    faces = np.empty((starts[-1], 3), np.int32)
    _emit(numbers, wanted, _COUNTS, _CUTS, _EDGES, faces_of, faces)
    # A vertex is a cut edge and the end of it that is inside: so no two labels share one.
    place = np.full(6 * numbers.size, -1, np.int32)
    vertices = np.empty((3 * len(faces), 3), np.float32)
    vertex_starts = np.zeros(len(starts), np.int64)
    used = _number(
        faces, place, numbers.shape[1], numbers.shape[2], vertices, starts, vertex_starts
    )
    return Meshes(labels, vertices[:used].copy(), faces, vertex_starts, starts)


@njit(nogil=True)
def _count(numbers: Any, wanted: Any, counts: Any, faces_of: Any) -> None:
    depth, height, width = numbers.shape
    corners = np.empty(8, np.uint32)
    for z in range(depth - 1):
        for y in range(height - 1):
            for x in range(width - 1):
                if not _corners(numbers, z, y, x, corners):
                    continue
                for k in range(8):
                    case = _case(corners, k, wanted)
                    if case > 0:
                        faces_of[corners[k]] += counts[case]


@njit(nogil=True)
def _emit(
    numbers: Any, wanted: Any, counts: Any, cuts: Any, edges: Any, at: Any, faces: Any
) -> None:
    """Write the triangles of each label from ``at`` on, with the number of the cut for each corner."""
    depth, height, width = numbers.shape
    corners = np.empty(8, np.uint32)
    for z in range(depth - 1):
        for y in range(height - 1):
            for x in range(width - 1):
                if not _corners(numbers, z, y, x, corners):
                    continue
                for k in range(8):
                    case = _case(corners, k, wanted)
                    if case <= 0:
                        continue
                    begin = at[corners[k]]
                    for cut in range(3 * counts[case]):
                        low, high, axis = edges[cuts[case, cut]]
                        voxel = (z + (low >> 2)) * height + y + (low >> 1 & 1)
                        voxel = voxel * width + x + (low & 1)
                        is_high = corners[high] == corners[k]
                        faces[begin + cut // 3, cut % 3] = 6 * voxel + 2 * axis + is_high
                    at[corners[k]] += counts[case]


@njit(nogil=True)
def _corners(numbers: Any, z: Any, y: Any, x: Any, corners: Any) -> Any:
    """The labels of a cube; whether they differ."""
    first = numbers[z, y, x]
    a, b, c = numbers[z, y, x + 1], numbers[z, y + 1, x], numbers[z, y + 1, x + 1]
    d, e = numbers[z + 1, y, x], numbers[z + 1, y, x + 1]
    f, g = numbers[z + 1, y + 1, x], numbers[z + 1, y + 1, x + 1]
    if (
        first == a
        and first == b
        and first == c
        and first == d
        and first == e
        and first == f
        and first == g
    ):
        return False
    corners[0], corners[1], corners[2], corners[3] = first, a, b, c
    corners[4], corners[5], corners[6], corners[7] = d, e, f, g
    return True


@njit(nogil=True)
def _case(corners: Any, k: Any, wanted: Any) -> Any:
    """The case of the label at corner k; 0: it isn't asked for, or is that of a corner before."""
    label = corners[k]
    if label == 0 or not wanted[label]:
        return 0
    for i in range(k):
        if corners[i] == label:
            return 0
    case = 0
    for i in range(k, 8):
        if corners[i] == label:
            case |= 1 << i
    return case


@njit(nogil=True)
def _number(
    faces: Any, place: Any, height: Any, width: Any, vertices: Any, starts: Any, vertex_starts: Any
) -> Any:
    """Put places of vertices in place of cuts; returns how many there are."""
    used = 0
    for k in range(len(starts) - 1):
        vertex_starts[k] = used
        for face in range(starts[k], starts[k + 1]):
            for corner in range(3):
                cut = faces[face, corner]
                if place[cut] < 0:
                    place[cut] = used
                    voxel, axis = cut // 6, cut // 2 % 3
                    z, y, x = voxel // (height * width), voxel // width % height, voxel % width
                    vertices[used, 0] = x + 0.5 * (axis == 2)
                    vertices[used, 1] = y + 0.5 * (axis == 1)
                    vertices[used, 2] = z + 0.5 * (axis == 0)
                    used += 1
                faces[face, corner] = place[cut]
    vertex_starts[len(starts) - 1] = used
    return used
