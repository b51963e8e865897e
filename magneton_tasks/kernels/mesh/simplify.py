"""Fewer triangles for the same surface: edges are collapsed while their error stays below a limit.

The error of a place is its mean squared distance from the planes of all triangles that were collapsed
into it, weighted by their areas (quadrics). Edges are visited in turn, with limits that rise from pass
to pass, instead of by their errors: without a heap it takes a third of a microsecond per triangle.
A collapse is left out where it would turn a triangle over, or make an edge of more than two.

M. Garland and P. S. Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997;
the passes are those of S. Forstmann's Fast Quadric Mesh Simplification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.mesh.collapse import join, list_around, may_join, turns
from magneton_tasks.kernels.mesh.quadrics import add_plane, best_place
from magneton_tasks.kernels.mesh.surfaces import Meshes

#: Of the limit on the squared error, pass by pass: what costs little goes first.
_PASSES = (0.3, 1.0, 1.0, 1.0, 1.0)
#: The last pass is the one after which fewer went than this part of the triangles.
_LEAST_GAIN = 0.08


def simplify(
    meshes: Meshes,
    error: float,
    scale: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    ends: NDArray[np.bool_],
) -> Meshes:
    """Simplify meshes that lie in a box; vertices on the box's faces stay where they are.

    Parameters
    ----------
    error
        Root of the mean squared distance that a vertex may have, in units of ``scale``.
    scale
        float64 (3,): x, y, z, lengths of a voxel, the smallest about 1.
    low, high
        float64 (3,): the box, x, y, z in voxels; no vertex leaves it.
    ends
        bool (3,): nothing lies before the box's low face, so vertices may move along it.
    """
    vertices = meshes.vertices.astype(np.float64)
    fixed = (((vertices <= low) & ~ends) | (vertices >= high)).any(1)
    vertices *= scale
    faces = meshes.faces.copy()
    limits = np.array(_PASSES) * error**2
    alive = _collapse(vertices, faces, fixed, limits, np.stack([low, high]) * scale)
    vertices /= scale
    place = np.full(len(vertices), -1, np.int32)
    starts = np.zeros((2, len(meshes.labels) + 1), np.int64)
    old = np.stack([meshes.vertex_starts, meshes.face_starts])
    kept_vertices = np.empty((len(vertices), 3), np.float32)
    vertex_count, face_count = _compact(vertices, faces, alive, place, old, starts, kept_vertices)
    return Meshes(
        meshes.labels,
        kept_vertices[:vertex_count].copy(),
        faces[:face_count].copy(),
        starts[0],
        starts[1],
    )


@njit(nogil=True)
def _collapse(v: Any, faces: Any, fixed: Any, limits: Any, box: Any) -> Any:
    """Collapse edges in place; which faces are left."""
    count = len(faces)
    alive, normals = np.ones(count, np.bool_), np.empty((count, 3))
    q = np.zeros((len(v), 11))
    for t in range(count):
        add_plane(v, faces, t, normals, q)
    mesh = (v, faces, alive, normals)
    around = (
        np.zeros(len(v), np.int64),
        np.zeros(len(v), np.int64),
        np.empty(6 * count + 64, np.int32),
    )
    used = list_around(faces, alive, around)
    # of each vertex, the last turn that met it; of each face, the last pass that changed it
    stamp, last = np.full(len(v), -1, np.int32), np.full(count, -1, np.int8)
    left, turn = count, 0
    for number in range(len(limits)):
        gone, turn, used = _pass(
            mesh, q, fixed, limits[number], box, around, used, stamp, turn, last, number
        )
        left -= gone
        if gone < _LEAST_GAIN * left:
            break
    return alive


@njit(nogil=True)
def _pass(
    mesh: Any,
    q: Any,
    fixed: Any,
    limit: Any,
    box: Any,
    around: Any,
    used: Any,
    stamp: Any,
    turn: Any,
    last: Any,
    number: Any,
) -> Any:
    """Visit all edges; how many faces went, the last turn, and the entries used of ``around``."""
    v, faces, alive, _ = mesh
    begin, size, refs = around
    place, gone = np.empty(3), 0
    for t in range(len(faces)):
        if not alive[t] or last[t] == number:
            continue
        for corner in range(3):
            a, b = faces[t, corner], faces[t, (corner + 1) % 3]
            if a > b or fixed[a] or fixed[b] or not best_place(q, v, a, b, limit, box, place):
                continue
            turn += 1
            if not may_join(faces, alive, around, a, b, stamp, turn):
                continue
            if turns(mesh, around, a, b, place) or turns(mesh, around, b, a, place):
                continue
            if used + size[a] + size[b] > len(refs):
                used = list_around(faces, alive, around)
            used = join(mesh, q, around, used, a, b, place)
            gone += 2
            for k in range(begin[a], begin[a] + size[a]):
                last[refs[k]] = number
            break
    return gone, turn, used


@njit(nogil=True)
def _compact(v: Any, faces: Any, alive: Any, place: Any, old: Any, starts: Any, kept: Any) -> Any:
    """Move what is left to the front, in its order, object by object; how many vertices and faces."""
    used = written = 0
    for k in range(old.shape[1] - 1):
        starts[0, k], starts[1, k] = used, written
        for t in range(old[1, k], old[1, k + 1]):
            if not alive[t]:
                continue
            for corner in range(3):
                vertex = faces[t, corner]
                if place[vertex] < 0:
                    place[vertex] = used
                    kept[used, 0], kept[used, 1], kept[used, 2] = (
                        v[vertex, 0],
                        v[vertex, 1],
                        v[vertex, 2],
                    )
                    used += 1
                faces[written, corner] = place[vertex]
            written += 1
    starts[0, old.shape[1] - 1], starts[1, old.shape[1] - 1] = used, written
    return used, written
