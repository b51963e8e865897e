"""A skeleton on the lattice of voxels: of an object in a cell, or of a whole object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Size3

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fragment:
    """Vertices on voxels, and the edges between them.

    Attributes
    ----------
    vertices
        int64 (n, 3): voxels of the mip, (z, y, x).
    edges
        int64 (m, 2): places in ``vertices``.
    radii
        float32 (n,): distance to the object's boundary in nm.
    """

    vertices: Int64
    edges: Int64
    radii: Float32

    @classmethod
    def of(cls, vertices: Int64, edges: NDArray[np.integer], radii: Float32) -> Fragment:
        """What the library gives."""
        return cls(vertices, edges.astype(np.int64), radii)

    def lengths_nm(self, voxel_size_nm: Size3) -> NDArray[np.float64]:
        """Of each edge."""
        ends = self.vertices[self.edges]
        steps = (ends[:, 0] - ends[:, 1]) * np.asarray(voxel_size_nm, np.float64)
        lengths: NDArray[np.float64] = np.sqrt((steps * steps).sum(1))
        return lengths

    def degrees(self) -> Int64:
        """How many edges each vertex has."""
        return np.bincount(self.edges.ravel(), minlength=len(self.vertices))

    def kept(self, which: Bool) -> Fragment:
        """Only these vertices, bool (n,), and the edges between them."""
        places = np.cumsum(which) - 1
        edges = self.edges[which[self.edges].all(1)]
        return Fragment(self.vertices[which], places[edges], self.radii[which])


def merged(fragments: Sequence[Fragment]) -> Fragment:
    """One of all (one or more): a voxel is one vertex, an edge is one edge.

    Where a vertex is in several, its smallest radius counts: a cell doesn't see the boundary beyond
    its faces, so what it finds near them is too large, never too small.
    """
    if len(fragments) == 1:
        return fragments[0]
    starts = np.cumsum([0] + [len(one.vertices) for one in fragments])
    vertices = np.concatenate([one.vertices for one in fragments])
    edges = np.concatenate([f.edges + s for f, s in zip(fragments, starts[:-1], strict=True)])
    radii = np.concatenate([one.radii for one in fragments])
    order = np.lexsort(vertices.T[::-1])
    ordered = vertices[order]
    is_new = np.ones(len(order), np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    places = np.empty(len(order), np.int64)
    places[order] = np.cumsum(is_new) - 1
    count = int(np.count_nonzero(is_new))
    ends = np.sort(places[edges], axis=1)
    codes = np.unique(ends[:, 0] * count + ends[:, 1])
    return Fragment(
        ordered[is_new],
        np.stack(np.divmod(codes, max(count, 1)), axis=1),
        np.minimum.reduceat(radii[order], np.flatnonzero(is_new)) if count else radii,
    )
