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
from magneton_tasks.kernels.mesh.surfaces import Meshes

#: Of the limit on the squared error, pass by pass.
_PASSES = (0.1, 0.4, 1.0)
#: A triangle may turn so far by one collapse (cosine), and be so pointed.
_LEAST_COSINE, _MOST_POINTED = 0.2, 0.999
#: Against the mean curvature, how strongly a vertex stays in the middle of its edge.
_PULL = 1e-3


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
    alive = _collapse(vertices, faces, fixed, limits, low * scale, high * scale)
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
def _collapse(v: Any, faces: Any, fixed: Any, limits: Any, low: Any, high: Any) -> Any:
    """Collapse edges in place; which faces are left."""
    count = len(faces)
    alive = np.ones(count, np.bool_)
    normals = np.empty((count, 3))
    q = np.zeros((len(v), 11))
    for t in range(count):
        _add_plane(v, faces, t, normals, q)
    begin, size = np.zeros(len(v), np.int64), np.zeros(len(v), np.int64)
    refs = np.empty(6 * count + 64, np.int32)
    used = _fill_refs(faces, alive, begin, size, refs)
    stamp = np.full(len(v), -1, np.int32)
    last = np.full(count, -1, np.int8)
    place = np.empty(3)
    turn = 0
    for number in range(len(limits)):
        for t in range(count):
            if not alive[t] or last[t] == number:
                continue
            for corner in range(3):
                a, b = faces[t, corner], faces[t, (corner + 1) % 3]
                if a > b or fixed[a] or fixed[b]:
                    continue
                if not _best_place(q, v, a, b, limits[number], low, high, place):
                    continue
                turn += 1
                if not _may_join(faces, alive, begin, size, refs, a, b, stamp, turn):
                    continue
                if _turns(v, faces, alive, normals, begin, size, refs, a, b, place):
                    continue
                if _turns(v, faces, alive, normals, begin, size, refs, b, a, place):
                    continue
                if used + size[a] + size[b] > len(refs):
                    used = _fill_refs(faces, alive, begin, size, refs)
                used = _join(v, faces, alive, normals, q, begin, size, refs, used, a, b, place)
                for k in range(begin[a], begin[a] + size[a]):
                    last[refs[k]] = number
                break
    return alive


@njit(nogil=True)
def _normal(v: Any, a: Any, b: Any, c: Any) -> Any:
    """The normal of a triangle, times twice its area."""
    ux, uy, uz = v[b, 0] - v[a, 0], v[b, 1] - v[a, 1], v[b, 2] - v[a, 2]
    wx, wy, wz = v[c, 0] - v[a, 0], v[c, 1] - v[a, 1], v[c, 2] - v[a, 2]
    return uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx


@njit(nogil=True)
def _set_normal(v: Any, faces: Any, t: Any, normals: Any) -> Any:
    """Keep the unit normal of a triangle; its area."""
    x, y, z = _normal(v, faces[t, 0], faces[t, 1], faces[t, 2])
    length = np.sqrt(x * x + y * y + z * z)
    if length > 0:
        x, y, z = x / length, y / length, z / length
    normals[t, 0], normals[t, 1], normals[t, 2] = x, y, z
    return length / 2


@njit(nogil=True)
def _add_plane(v: Any, faces: Any, t: Any, normals: Any, q: Any) -> None:
    """Add a triangle's plane to the quadrics of its corners.

    Of each: xx, xy, xz, yy, yz, zz, xd, yd, zd, dd, and the area, by which all are weighted.
    """
    w = _set_normal(v, faces, t, normals)
    x, y, z = normals[t]
    d = -(x * v[faces[t, 0], 0] + y * v[faces[t, 0], 1] + z * v[faces[t, 0], 2])
    for corner in range(3):
        row = q[faces[t, corner]]
        row[0] += w * x * x
        row[1] += w * x * y
        row[2] += w * x * z
        row[3] += w * y * y
        row[4] += w * y * z
        row[5] += w * z * z
        row[6] += w * x * d
        row[7] += w * y * d
        row[8] += w * z * d
        row[9] += w * d * d
        row[10] += w


@njit(nogil=True)
def _fill_refs(faces: Any, alive: Any, begin: Any, size: Any, refs: Any) -> Any:
    """List the triangles around each vertex, without gaps; how many entries that took."""
    size[:] = 0
    for t in range(len(faces)):
        if alive[t]:
            for corner in range(3):
                size[faces[t, corner]] += 1
    used = 0
    for k in range(len(begin)):
        begin[k] = used
        used += size[k]
    size[:] = 0
    for t in range(len(faces)):
        if alive[t]:
            for corner in range(3):
                k = faces[t, corner]
                refs[begin[k] + size[k]] = t
                size[k] += 1
    return used


@njit(nogil=True)
def _best_place(q: Any, v: Any, a: Any, b: Any, limit: Any, low: Any, high: Any, place: Any) -> Any:
    """Find the place of least error for an edge; whether that is below the limit."""
    xx, xy, xz = q[a, 0] + q[b, 0], q[a, 1] + q[b, 1], q[a, 2] + q[b, 2]
    yy, yz, zz = q[a, 3] + q[b, 3], q[a, 4] + q[b, 4], q[a, 5] + q[b, 5]
    xd, yd, zd = q[a, 6] + q[b, 6], q[a, 7] + q[b, 7], q[a, 8] + q[b, 8]
    dd, w = q[a, 9] + q[b, 9], q[a, 10] + q[b, 10]
    mx, my, mz = (v[a, 0] + v[b, 0]) / 2, (v[a, 1] + v[b, 1]) / 2, (v[a, 2] + v[b, 2]) / 2
    gx = xx * mx + xy * my + xz * mz + xd
    gy = xy * mx + yy * my + yz * mz + yd
    gz = xz * mx + yz * my + zz * mz + zd
    pull = _PULL * w
    kx, ky, kz = xx + pull, yy + pull, zz + pull
    cxx, cxy, cxz = ky * kz - yz * yz, xz * yz - xy * kz, xy * yz - xz * ky
    cyy, cyz, czz = kx * kz - xz * xz, xy * xz - kx * yz, kx * ky - xy * xy
    det = kx * cxx + xy * cxy + xz * cxz
    if det <= 0:
        return False
    x = mx - (cxx * gx + cxy * gy + cxz * gz) / det
    y = my - (cxy * gx + cyy * gy + cyz * gz) / det
    z = mz - (cxz * gx + cyz * gy + czz * gz) / det
    x = min(max(x, low[0]), high[0])
    y = min(max(y, low[1]), high[1])
    z = min(max(z, low[2]), high[2])
    error = x * (xx * x + 2 * (xy * y + xz * z + xd)) + y * (yy * y + 2 * (yz * z + yd))
    error += z * (zz * z + 2 * zd) + dd
    place[0], place[1], place[2] = x, y, z
    return error <= limit * w


@njit(nogil=True)
def _may_join(
    faces: Any,
    alive: Any,
    begin: Any,
    size: Any,
    refs: Any,
    a: Any,
    b: Any,
    stamp: Any,
    turn: Any,
) -> Any:
    """Whether an edge can go: no neighbours meet but those of its triangles, and three are left around."""
    shared = around = 0
    for k in range(begin[a], begin[a] + size[a]):
        t = refs[k]
        if alive[t]:
            around += 1
            for corner in range(3):
                stamp[faces[t, corner]] = turn
            shared += faces[t, 0] == b or faces[t, 1] == b or faces[t, 2] == b
    stamp[a] = stamp[b] = -1
    common = 0
    for k in range(begin[b], begin[b] + size[b]):
        t = refs[k]
        if alive[t]:
            around += 1
            for corner in range(3):
                n = faces[t, corner]
                if stamp[n] == turn:
                    stamp[n] = -1
                    common += 1
    return common == shared and around - 2 * shared > 2


@njit(nogil=True)
def _turns(
    v: Any,
    faces: Any,
    alive: Any,
    normals: Any,
    begin: Any,
    size: Any,
    refs: Any,
    a: Any,
    b: Any,
    place: Any,
) -> Any:
    """Whether a triangle around a, without b, would turn over or get too pointed."""
    px, py, pz = place[0], place[1], place[2]
    for k in range(begin[a], begin[a] + size[a]):
        t = refs[k]
        if not alive[t]:
            continue
        if faces[t, 0] == a:
            i, j = faces[t, 1], faces[t, 2]
        elif faces[t, 1] == a:
            i, j = faces[t, 2], faces[t, 0]
        else:
            i, j = faces[t, 0], faces[t, 1]
        if i == b or j == b:
            continue
        ux, uy, uz = v[i, 0] - px, v[i, 1] - py, v[i, 2] - pz
        wx, wy, wz = v[j, 0] - px, v[j, 1] - py, v[j, 2] - pz
        uu, ww, uw = (
            ux * ux + uy * uy + uz * uz,
            wx * wx + wy * wy + wz * wz,
            ux * wx + uy * wy + uz * wz,
        )
        if uw * uw >= _MOST_POINTED**2 * uu * ww:
            return True
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        along = nx * normals[t, 0] + ny * normals[t, 1] + nz * normals[t, 2]
        if along <= 0 or along * along < _LEAST_COSINE**2 * (nx * nx + ny * ny + nz * nz):
            return True
    return False


@njit(nogil=True)
def _join(
    v: Any,
    faces: Any,
    alive: Any,
    normals: Any,
    q: Any,
    begin: Any,
    size: Any,
    refs: Any,
    used: Any,
    a: Any,
    b: Any,
    place: Any,
) -> Any:
    """Put a in its new place, and in place of b; the entries of triangles that are used then."""
    v[a, 0], v[a, 1], v[a, 2] = place[0], place[1], place[2]
    q[a] += q[b]
    first = used
    for side in range(2):
        vertex = a if side == 0 else b
        for k in range(begin[vertex], begin[vertex] + size[vertex]):
            t = refs[k]
            if not alive[t]:
                continue
            other = b if side == 0 else a
            if faces[t, 0] == other or faces[t, 1] == other or faces[t, 2] == other:
                alive[t] = False
                continue
            for corner in range(3):
                if faces[t, corner] == b:
                    faces[t, corner] = a
            _set_normal(v, faces, t, normals)
            refs[used] = t
            used += 1
    begin[a], size[a], size[b] = first, used - first, 0
    return used


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
