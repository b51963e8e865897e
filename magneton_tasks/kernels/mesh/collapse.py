"""The collapse of an edge: what lies around its ends, whether it may go, and what is left then.

``around`` is, of each vertex, where its triangles begin in a list, and how many they are; and that list.
``mesh`` is vertices, faces, which of these are left, and their unit normals.
"""

from __future__ import annotations

from typing import Any

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.mesh.quadrics import set_normal

#: A triangle may turn so far by one collapse (cosine), and be so pointed.
_LEAST_COSINE, _MOST_POINTED = 0.2, 0.999


@njit(nogil=True)
def list_around(faces: Any, alive: Any, around: Any) -> Any:
    """List the triangles around each vertex, without gaps; how many entries that took."""
    begin, size, refs = around
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
def may_join(faces: Any, alive: Any, around: Any, a: Any, b: Any, stamp: Any, turn: Any) -> Any:
    """Whether an edge can go: no neighbours meet but those of its triangles, and three are left around."""
    begin, size, refs = around
    shared = there = 0
    for k in range(begin[a], begin[a] + size[a]):
        t = refs[k]
        if alive[t]:
            there += 1
            for corner in range(3):
                stamp[faces[t, corner]] = turn
            shared += faces[t, 0] == b or faces[t, 1] == b or faces[t, 2] == b
    stamp[a] = stamp[b] = -1
    common = 0
    for k in range(begin[b], begin[b] + size[b]):
        t = refs[k]
        if alive[t]:
            there += 1
            for corner in range(3):
                n = faces[t, corner]
                if stamp[n] == turn:
                    stamp[n] = -1
                    common += 1
    return common == shared and there - 2 * shared > 2


@njit(nogil=True)
def turns(mesh: Any, around: Any, a: Any, b: Any, place: Any) -> Any:
    """Whether a triangle around a, without b, would turn over or get too pointed."""
    v, faces, alive, normals = mesh
    begin, size, refs = around
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
def join(mesh: Any, q: Any, around: Any, used: Any, a: Any, b: Any, place: Any) -> Any:
    """Put a in its new place, and in place of b; the entries of triangles that are used then."""
    v, faces, alive, normals = mesh
    begin, size, refs = around
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
            set_normal(v, faces, t, normals)
            refs[used] = t
            used += 1
    begin[a], size[a], size[b] = first, used - first, 0
    return used
