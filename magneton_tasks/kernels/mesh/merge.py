"""Meshes of boxes that lie beside each other, as those of one box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.mesh.surfaces import Meshes


def empty() -> Meshes:
    """No mesh."""
    none = np.zeros(0, np.int64)
    start = np.zeros(1, np.int64)
    return Meshes(none, np.empty((0, 3), np.float32), np.empty((0, 3), np.int32), start, start)


def combined(parts: Sequence[tuple[Meshes, NDArray[np.float32]]]) -> Meshes:
    """One mesh of each object; points that are equal stay apart.

    Parameters
    ----------
    parts
        Meshes, and where their origin lies: float32 (3,), x, y, z.
    """
    meshes = Meshes(
        np.concatenate([np.zeros(0, np.int64), *(m.labels for m, _ in parts)]),
        np.concatenate([np.empty((0, 3), np.float32), *(m.vertices + at for m, at in parts)]),
        np.concatenate([np.empty((0, 3), np.int32), *(m.faces for m, _ in parts)]),
        _joined_starts([m.vertex_starts for m, _ in parts]),
        _joined_starts([m.face_starts for m, _ in parts]),
    )
    sizes = np.array([len(m.labels) for m, _ in parts], np.int64)
    shift = np.cumsum([0, *(len(m.vertices) for m, _ in parts)])[:-1]
    return _ordered(meshes, np.repeat(shift, sizes))


def _joined_starts(starts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    sizes = np.concatenate([np.zeros(1, np.int64), *(np.diff(s) for s in starts)])
    return np.cumsum(sizes, dtype=np.int64)


def selected(meshes: Meshes, which: NDArray[np.bool_]) -> Meshes:
    """The meshes of some objects: bool (k,)."""
    if which.all():
        return meshes
    keep = np.flatnonzero(which)
    return _gathered(meshes, keep, np.zeros(len(meshes.labels), np.int64))


def _ordered(meshes: Meshes, shift: NDArray[np.int64]) -> Meshes:
    """By label, with one mesh of each; ``shift``: what faces of each mesh lack to their vertices."""
    found = _gathered(meshes, np.argsort(meshes.labels, kind="stable"), shift)
    first = np.flatnonzero(np.diff(found.labels, prepend=-1))
    return Meshes(
        found.labels[first],
        found.vertices,
        found.faces,
        np.append(found.vertex_starts[first], found.vertex_starts[-1]),
        np.append(found.face_starts[first], found.face_starts[-1]),
    )


def _gathered(meshes: Meshes, order: NDArray[np.int64], shift: NDArray[np.int64]) -> Meshes:
    vertex_at, vertex_starts = _places(meshes.vertex_starts, order)
    face_at, face_starts = _places(meshes.face_starts, order)
    moved = vertex_starts[:-1] - meshes.vertex_starts[order] + shift[order]
    faces = meshes.faces[face_at] + np.repeat(moved, np.diff(face_starts))[:, np.newaxis]
    return Meshes(
        meshes.labels[order],
        meshes.vertices[vertex_at],
        faces.astype(np.int32),
        vertex_starts,
        face_starts,
    )


def _places(
    starts: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where rows of runs lie that are put into another order, and where the runs begin then."""
    sizes = np.diff(starts)[order]
    new = np.zeros(len(order) + 1, np.int64)
    np.cumsum(sizes, out=new[1:])
    return np.repeat(starts[order] - new[:-1], sizes) + np.arange(new[-1]), new


def welded(meshes: Meshes, middle: NDArray[np.float32]) -> Meshes:
    """Make one vertex of equal points of an object that lie on one of the planes through a point.

    Vertices that are left over stay, and no face holds them.
    """
    found = np.flatnonzero((meshes.vertices == middle).any(1))
    if not len(found):
        return meshes
    label = np.searchsorted(meshes.vertex_starts, found, "right")
    points = meshes.vertices[found]
    order = np.lexsort((points[:, 0], points[:, 1], points[:, 2], label))
    found, points, label = found[order], points[order], label[order]
    new = np.ones(len(found), np.bool_)
    new[1:] = (points[1:] != points[:-1]).any(1) | (label[1:] != label[:-1])
    place = np.arange(len(meshes.vertices), dtype=np.int32)
    place[found] = found[new][np.cumsum(new) - 1]
    return Meshes(
        meshes.labels,
        meshes.vertices,
        place[meshes.faces],
        meshes.vertex_starts,
        meshes.face_starts,
    )
