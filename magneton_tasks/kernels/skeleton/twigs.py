"""Branches that end: which of them an object doesn't have.

Cells lead a path to each patch of their faces, and cycles are cut open. Both leave twigs that run beside
another branch of the same object. TEASAR would never have begun them: all of each lies in what the rest
covers. So these go, and those that are short.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magneton_tasks.kernels.skeleton.fragment import Bool, Fragment, Int64
from magneton_tasks.kernels.skeleton.rules import Rules


@dataclass(order=True, slots=True)
class _Twig:
    """From its tip to the vertex before ``base``, where it meets others."""

    length_nm: float
    tip: int
    path: list[int]
    base: int


def without_twigs(forest: Fragment, rules: Rules) -> Fragment:
    """A forest without twigs that are short or that the rest covers; its components stay, in number."""
    if forest.degrees().max(initial=0) < 3:
        return forest
    tree = _Tree(forest, rules)
    cover = _Cover(forest, rules)
    # the shortest first: what it leaves behind may be longer, so that is looked at again
    queue = [twig for tip in tree.tips() if (twig := tree.twig(tip)) is not None]
    heapify(queue)
    while queue:
        twig = heappop(queue)
        if tree.degree[twig.base] < 3:
            longer = tree.twig(twig.tip)
            if longer is not None:
                heappush(queue, longer)
        elif twig.length_nm < rules.tick_nm or cover.holds(twig.path, tree.is_there):
            tree.remove(twig)
    return forest.kept(tree.is_there)


class _Tree:
    """A forest from which twigs are taken."""

    def __init__(self, forest: Fragment, rules: Rules) -> None:
        ends = np.concatenate([forest.edges, forest.edges[:, ::-1]])
        order = np.argsort(ends[:, 0], kind="stable")
        lengths = forest.lengths_nm(rules.voxel_size_nm)
        degrees = forest.degrees()
        # views give plain numbers, as lists do, in a fifth of the memory
        self._starts = np.concatenate([[0], np.cumsum(degrees)]).data
        self._others = ends[order, 1].data
        self._lengths = np.concatenate([lengths, lengths])[order].data
        self.degree = degrees.data
        self.is_there: Bool = np.ones(len(degrees), np.bool_)

    def tips(self) -> list[int]:
        """Vertices with one edge."""
        return [vertex for vertex, degree in enumerate(self.degree) if degree == 1]

    def twig(self, tip: int) -> _Twig | None:
        """The twig that ends in ``tip``; None: it meets no other."""
        path, before, at, length = [], -1, tip, 0.0
        while self.degree[at] <= 2:
            path.append(at)
            for place in range(self._starts[at], self._starts[at + 1]):
                other = self._others[place]
                if other != before and self.is_there[other]:
                    before, at = at, other
                    length += self._lengths[place]
                    break
            else:
                return None
        return _Twig(length, tip, path, at)

    def remove(self, twig: _Twig) -> None:
        self.is_there[twig.path] = False
        self.degree[twig.base] -= 1


class _Cover:
    """What a skeleton covers, vertex by vertex."""

    def __init__(self, forest: Fragment, rules: Rules) -> None:
        self._places: NDArray[np.float64] = forest.vertices * np.asarray(rules.voxel_size_nm)
        self._reach: NDArray[np.float64] = rules.scale * forest.radii.astype(np.float64)
        self._reach += rules.const_nm
        # a search tree for each power of two of the reach, or a soma would have all others look far
        powers = np.frexp(self._reach)[1]
        self._trees = [
            (2.0 ** int(power), some, cKDTree(self._places[some]))
            for power in np.unique(powers)
            for some in [np.flatnonzero(powers == power)]
        ]

    def holds(self, path: list[int], is_there: Bool) -> bool:
        """Whether each vertex of a path is covered by a vertex that is there and not of the path."""
        own = set(path)
        # the tip first: of most twigs, it isn't covered
        return all(self._holds(vertex, own, is_there) for vertex in path)

    def _holds(self, vertex: int, own: set[int], is_there: Bool) -> bool:
        here = self._places[vertex]
        for reach, some, tree in self._trees:
            near: Int64 = some[tree.query_ball_point(here, reach, p=np.inf)]
            near = near[is_there[near]]
            inside = np.abs(self._places[near] - here).max(1, initial=0.0) <= self._reach[near]
            if not own.issuperset(near[inside].tolist()):
                return True
        return False
