"""Quadrics: the mean squared distance of a place from the planes of triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit

#: How strongly a vertex stays in the middle of its edge, where planes leave it free.
_PULL = 1e-3


@njit(nogil=True)
def _normal(v: Any, a: Any, b: Any, c: Any) -> Any:
    """The normal of a triangle, times twice its area."""
    ux, uy, uz = v[b, 0] - v[a, 0], v[b, 1] - v[a, 1], v[b, 2] - v[a, 2]
    wx, wy, wz = v[c, 0] - v[a, 0], v[c, 1] - v[a, 1], v[c, 2] - v[a, 2]
    return uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx


@njit(nogil=True)
def set_normal(v: Any, faces: Any, t: Any, normals: Any) -> Any:
    """Keep the unit normal of a triangle; its area."""
    x, y, z = _normal(v, faces[t, 0], faces[t, 1], faces[t, 2])
    length = np.sqrt(x * x + y * y + z * z)
    if length > 0:
        x, y, z = x / length, y / length, z / length
    normals[t, 0], normals[t, 1], normals[t, 2] = x, y, z
    return length / 2


@njit(nogil=True)
def add_plane(v: Any, faces: Any, t: Any, normals: Any, q: Any) -> None:
    """Add a triangle's plane to the quadrics of its corners.

    Of each: xx, xy, xz, yy, yz, zz, xd, yd, zd, dd, and the area, by which all are weighted.
    """
    w = set_normal(v, faces, t, normals)
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
def best_place(q: Any, v: Any, a: Any, b: Any, limit: Any, box: Any, place: Any) -> Any:
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
    x = min(max(x, box[0, 0]), box[1, 0])
    y = min(max(y, box[0, 1]), box[1, 1])
    z = min(max(z, box[0, 2]), box[1, 2])
    error = x * (xx * x + 2 * (xy * y + xz * z + xd)) + y * (yy * y + 2 * (yz * z + yd))
    error += z * (zz * z + 2 * zd) + dd
    place[0], place[1], place[2] = x, y, z
    return error <= limit * w
