"""An object's skeletons of all its cells become one, as whole as if no cell had cut it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from bioimage_cpp.skeleton import distributed
from numpy.typing import NDArray

from magneton_tasks.kernels.skeleton.fragment import Float32, Fragment, merged
from magneton_tasks.kernels.skeleton.rules import Rules
from magneton_tasks.kernels.skeleton.twigs import without_twigs


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Of an object: trees.

    Attributes
    ----------
    vertices_nm
        float64 (n, 3): centres of voxels, (z, y, x).
    edges
        int64 (m, 2): places in the vertices.
    radii_nm
        float32 (n,).
    """

    vertices_nm: NDArray[np.float64]
    edges: NDArray[np.int64]
    radii_nm: Float32

    @property
    def cable_nm(self) -> float:
        """The length of all edges."""
        ends = self.vertices_nm[self.edges]
        return float(np.sqrt(((ends[:, 0] - ends[:, 1]) ** 2).sum(1)).sum())


def joined(fragments: Iterable[Fragment], rules: Rules) -> Skeleton:
    """Join an object's fragments: one or more.

    What cells have in common becomes one. Where that closes a cycle, it is opened; then twigs go that
    the rest covers, or that are shorter than ``tick_nm``. Components are those of the object's voxels.
    """
    several = list(fragments)
    whole = merged(several)
    if len(several) > 1:
        whole = _forest(_with_smaller_radii(whole, rules), rules)
    whole = without_twigs(whole, rules)
    size = np.asarray(rules.voxel_size_nm, np.float64)
    return Skeleton((whole.vertices + 0.5) * size, whole.edges, whole.radii)


def _forest(graph: Fragment, rules: Rules) -> Fragment:
    """The graph without its cycles."""
    raw = graph.vertices, graph.edges, graph.radii
    vertices, edges, radii = distributed.minimum_spanning_forest(raw, spacing=rules.voxel_size_nm)
    return Fragment.of(vertices, edges, radii)


def _with_smaller_radii(graph: Fragment, rules: Rules) -> Fragment:
    """No radius is larger than a neighbour's and the way to it; what both cells saw spreads to the next."""
    radii, lengths = graph.radii, graph.lengths_nm(rules.voxel_size_nm).astype(np.float32)
    one, other = graph.edges.T
    while True:
        smaller = radii.copy()
        np.minimum.at(smaller, one, radii[other] + lengths)
        np.minimum.at(smaller, other, radii[one] + lengths)
        # a float's rounding is no news
        if not (smaller < radii * np.float32(1 - 1e-5)).any():
            return Fragment(graph.vertices, graph.edges, radii)
        radii = smaller
