"""Fragments as bytes, between the tasks that make and join them."""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.kernels.skeleton.fragment import Fragment

_HEAD = np.dtype("<u4")
#: of a vertex: place and radius; of an edge: two places. A fragment has about as many of both
_VERTEX_BYTES, _EDGE_BYTES = 16, 8


def packed(fragment: Fragment, origin: Vec3) -> bytes:
    """The bytes of a fragment; ``origin``: of its cell, from which its vertices are counted."""
    head = np.array([len(fragment.vertices), len(fragment.edges)], _HEAD)
    near = (fragment.vertices - np.asarray(origin)).astype("<u4")
    arrays = head, near, fragment.edges.astype("<u4"), fragment.radii.astype("<f4")
    return b"".join(array.tobytes() for array in arrays)


def unpacked(data: bytes, origin: Vec3) -> Fragment:
    """The fragment of `packed`.

    Raises
    ------
    ValueError
        The bytes are none.
    """
    vertices, edges = (int(n) for n in np.frombuffer(data, _HEAD, 2))
    if len(data) != 8 + _VERTEX_BYTES * vertices + _EDGE_BYTES * edges:
        raise ValueError(f"{len(data)} bytes for {vertices} vertices and {edges} edges")
    near = np.frombuffer(data, "<u4", 3 * vertices, 8).reshape(-1, 3)
    pairs = np.frombuffer(data, "<u4", 2 * edges, 8 + 12 * vertices).reshape(-1, 2)
    radii = np.frombuffer(data, "<f4", vertices, 8 + 12 * vertices + _EDGE_BYTES * edges)
    return Fragment(
        near.astype(np.int64) + np.asarray(origin), pairs.astype(np.int64), radii.astype(np.float32)
    )


def vertices_in(size: int) -> int:
    """About how many vertices so many bytes hold."""
    return size // (_VERTEX_BYTES + _EDGE_BYTES)
