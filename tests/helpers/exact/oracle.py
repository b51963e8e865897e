"""What the exact method's result is by definition: dictionaries, one merge at a time, no blocks.

Nothing here is shared with the kernels but the settings. For volumes of a few hundred voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import product
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings

#: Labels of voxels; background has none.
Names = dict[Vec3, int]


class VoxelEdge(NamedTuple):
    """Two voxels that touch; edges compare as their keys do: affinity, then the lower position."""

    affinity: int
    minus_position: int
    a: Vec3
    b: Vec3


def oracle(
    affinity: npt.NDArray[np.uint8],
    settings: ExactSettings,
    mask: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Segment a volume.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    mask
        bool (z, y, x), False: not to be segmented; an edge of such a voxel doesn't exist.
    """
    edges = list(_voxel_edges(affinity, mask))
    names = _basins(edges, settings.t_low, settings.t_high)
    names = _join_small_once(names, edges, settings.s_min, settings.t_size)
    names = _size_limited(names, edges, settings.s2, settings.t_size)
    names = _mean_linkage(names, edges, settings.threshold)
    labels = np.zeros(affinity.shape[1:], np.int64)
    for voxel, name in names.items():
        labels[voxel] = name
    return labels


def _voxel_edges(
    affinity: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_] | None
) -> Iterator[VoxelEdge]:
    shape = affinity.shape[1:]
    for d in range(3):
        for i, b in enumerate(product(*map(range, shape))):
            a = vec3(n - (k == d) for k, n in enumerate(b))
            if a[d] >= 0 and (mask is None or (mask[a] and mask[b])):
                yield VoxelEdge(int(affinity[d][b]), -(3 * i + d), a, vec3(b))


def _components(nodes: Iterable[Vec3], pairs: Iterable[tuple[Vec3, Vec3]]) -> Names:
    """Number the connected components, by a plain search."""
    neighbours: dict[Vec3, list[Vec3]] = {node: [] for node in nodes}
    for a, b in pairs:
        neighbours[a].append(b)
        neighbours[b].append(a)
    names: Names = {}
    for name, start in enumerate(neighbours, 1):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in names:
                names[node] = name
                waiting += neighbours[node]
    return names


def _basins(edges: list[VoxelEdge], t_low: int, t_high: int) -> Names:
    best: dict[Vec3, VoxelEdge] = {}
    for edge in edges:
        for voxel in (edge.a, edge.b):
            best[voxel] = max(best.get(voxel, edge), edge)
    best = {voxel: edge for voxel, edge in best.items() if edge.affinity >= t_low}
    one = [e for e in edges if e.affinity >= t_high] + list(best.values())
    return _components(best, ((e.a, e.b) for e in one))


def _outgoing(names: Names, edges: list[VoxelEdge]) -> Iterator[tuple[int, int, VoxelEdge]]:
    """Voxel edges between different segments, with the names of both."""
    for edge in edges:
        a, b = names.get(edge.a), names.get(edge.b)
        if a is not None and b is not None and a != b:
            yield a, b, edge


def _sizes(names: Names) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for name in names.values():
        sizes[name] = sizes.get(name, 0) + 1
    return sizes


def _join_small_once(names: Names, edges: list[VoxelEdge], least: int, t_size: int) -> Names:
    """Each segment smaller than ``least`` joins the one behind its best edge; all at once."""
    sizes = _sizes(names)
    picks: dict[int, VoxelEdge] = {}
    for a, b, edge in _outgoing(names, edges):
        for name in (a, b):
            if sizes[name] < least and edge.affinity >= max(t_size, 1):
                picks[name] = max(picks.get(name, edge), edge)
    inside = [(e.a, e.b) for e in edges if e.a in names and names[e.a] == names.get(e.b)]
    return _components(names, inside + [(e.a, e.b) for e in picks.values()])


def _size_limited(names: Names, edges: list[VoxelEdge], least: int, t_size: int) -> Names:
    """Merge the two segments at the best edge that has a small one at an end; again and again."""
    names = dict(names)
    sizes = _sizes(names)
    while True:
        best = max(
            (
                (edge, a, b)
                for a, b, edge in _outgoing(names, edges)
                if edge.affinity >= max(t_size, 1) and min(sizes[a], sizes[b]) < least
            ),
            default=None,
        )
        if best is None or least <= 1:
            return names
        _, kept, gone = best
        names = {voxel: kept if name == gone else name for voxel, name in names.items()}
        sizes[kept] += sizes.pop(gone)


def _mean_linkage(names: Names, edges: list[VoxelEdge], threshold: float) -> Names:
    """Merge the two segments with the highest mean affinity; ties: whose last edge comes first.

    In fractions where the kernels have 24 bits: on volumes this small, means that differ do so by
    more than 2^-24.
    """
    least = Fraction(ceil(Fraction(str(threshold)) * 255 * 2**24), 2**24)
    between: dict[frozenset[int], tuple[int, int, int]] = {}  # sum, count, last position
    for a, b, edge in _outgoing(names, edges):
        _add(between, frozenset((a, b)), (edge.affinity, 1, -edge.minus_position))
    into = {name: name for name in set(names.values())}
    while between:
        pair = max(between, key=lambda p: (Fraction(between[p][0], between[p][1]), -between[p][2]))
        total, count, _ = between.pop(pair)
        if Fraction(total, count) < least:
            break
        kept, gone = pair
        into = {name: kept if now == gone else now for name, now in into.items()}
        for other in [p for p in between if gone in p]:
            (third,) = other - {gone}
            _add(between, frozenset((kept, third)), between.pop(other))
    return {voxel: into[name] for voxel, name in names.items()}


def _add(
    between: dict[frozenset[int], tuple[int, int, int]],
    pair: frozenset[int],
    more: tuple[int, int, int],
) -> None:
    total, count, last = between.get(pair, (0, 0, 0))
    between[pair] = (total + more[0], count + more[1], max(last, more[2]))
