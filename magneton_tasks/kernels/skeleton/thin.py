"""Fewer vertices for an object that would need more memory than its join may take."""

from __future__ import annotations

from math import ceil, log

import numpy as np

from magneton_tasks.kernels.skeleton.fragment import Bool, Fragment, Int64

#: Vertices that a join holds at most, at some 400 bytes each. At voxels of 32 nm: some 13 mm of cable.
MOST_VERTICES = 500_000
#: A pass leaves out one in three, of a chain of vertices.
_LEFT = 2 / 3


def passes_for(vertices: int, most: int = MOST_VERTICES) -> int:
    """How often the fragments of an object of so many vertices are thinned."""
    return 0 if vertices <= most else ceil(log(most / vertices) / log(_LEFT))


def thinned(fragment: Fragment, keep: Bool, passes: int) -> Fragment:
    """A fragment with fewer vertices along its branches.

    Tips, branch points and the vertices of ``keep``, bool (n,), stay: neighbours are joined to these.
    """
    for _ in range(passes):
        out = _every_third(fragment, keep)
        fragment, keep = _without(fragment, out), keep[~out]
    return fragment


def _every_third(fragment: Fragment, keep: Bool) -> Bool:
    """Vertices of two edges, no two of them neighbours: those whose turn comes before both neighbours'."""
    count = len(fragment.vertices)
    # an order that doesn't follow the branch, and is the same in every run
    turns = (np.arange(count, dtype=np.int64) * 0x9E3779B1) & 0xFFFFFFFF
    turns[keep | (fragment.degrees() != 2)] = 1 << 32
    first = np.full(count, 1 << 33, np.int64)
    one, other = fragment.edges.T
    np.minimum.at(first, one, turns[other])
    np.minimum.at(first, other, turns[one])
    return np.asarray((turns < first) & (turns < 1 << 32))


def _without(fragment: Fragment, out: Bool) -> Fragment:
    """The fragment without vertices of two edges, whose neighbours become each other's."""
    touched = out[fragment.edges]
    cut = fragment.edges[touched.any(1)]
    cut = np.where(out[cut[:, :1]], cut, cut[:, ::-1])  # the vertex that goes, first
    ends: Int64 = cut[np.argsort(cut[:, 0], kind="stable"), 1].reshape(-1, 2)
    edges = np.concatenate([fragment.edges[~touched.any(1)], np.sort(ends, axis=1)])
    places = np.cumsum(~out) - 1
    return Fragment(fragment.vertices[~out], places[edges], fragment.radii[~out])
