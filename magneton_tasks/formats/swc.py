"""Skeletons as SWC, the text that tools of neuroanatomy read.

A line for each vertex: number, type, x, y, z, radius, number of the parent (-1: a root). Lengths are in
um, as the format has them; a parent stands before its children.

The format: Cannon et al., An on-line archive of reconstructed hippocampal neurons, J. Neurosci. Methods 1998.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from magneton_tasks.formats.precomputed.skeletons import StoredSkeleton

SUFFIX = ".swc"
#: What kind of neurite a vertex is of isn't known.
_UNDEFINED = 0
_UM_PER_NM = 1e-3
_ROOT = -1


def text(skeleton: StoredSkeleton, global_id: int, source: str) -> str:
    """An object's skeleton as SWC: one tree for each of its components, rooted where it is thickest.

    ``source``: where it was stored, for the head.
    """
    lines = [
        f"# object {global_id} of {source}",
        "# x, y, z and radius in micrometres; type 0: undefined; one tree for each component",
        "# id type x y z radius parent",
    ]
    places = skeleton.vertices.astype(np.float64) * _UM_PER_NM
    radii = skeleton.radii.astype(np.float64) * _UM_PER_NM
    number = {_ROOT: _ROOT}
    for vertex, parent in _parents_first(skeleton):
        number[vertex] = len(number)
        x, y, z = places[vertex]
        where = f"{x:.4f} {y:.4f} {z:.4f} {radii[vertex]:.4f}"
        lines.append(f"{number[vertex]} {_UNDEFINED} {where} {number[parent]}")
    return "\n".join(lines) + "\n"


def _parents_first(skeleton: StoredSkeleton) -> Iterator[tuple[int, int]]:
    """Each vertex and its parent (-1: none), tree after tree."""
    others: list[list[int]] = [[] for _ in skeleton.radii]
    for one, other in skeleton.edges.tolist():
        others[one].append(other)
        others[other].append(one)
    seen = np.zeros(len(others), np.bool_)
    for root in np.argsort(-skeleton.radii, kind="stable").tolist():
        stack = [(root, _ROOT)]
        while stack:
            vertex, parent = stack.pop()
            if not seen[vertex]:
                seen[vertex] = True
                yield vertex, parent
                stack += [(other, vertex) for other in reversed(others[vertex]) if not seen[other]]
