"""Levels of detail, from the finest up: units of meshes that are joined eight by eight.

A unit of level k is the surface in a node of level k - 1, simplified as level k wants it. A node of
level k shows its eight units as they are, so no triangle crosses its middle. Its own unit, of level k + 1,
is made of them: equal points on the planes between them become one, and what lies there is simplified
with the rest. The border of a node is never touched, so nodes meet wherever they are worked::

    level 0   node   node   node   node      surfaces of labels, simplified
                |      |      |      |
    level 1   unit . unit   unit . unit      simplified once more; two of them (eight in 3D) are a node
                |______|      |______|
    level 2       unit     .     unit        joined, simplified
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.kernels.mesh.merge import combined, welded
from magneton_tasks.kernels.mesh.simplify import simplify
from magneton_tasks.kernels.mesh.surfaces import Meshes, surfaces

Doubles = NDArray[np.float64]
#: Of a voxel, where units are stored: edges are cut at halves, so equal points stay equal.
STEPS = 32
#: Along x, y, z: whether nothing lies before a node.
Ends = tuple[bool, bool, bool]


@dataclass(frozen=True)
class Levels:
    """How meshes become coarser.

    Attributes
    ----------
    node
        Of level 0, in voxels, (z, y, x).
    voxel
        Lengths of a voxel, (z, y, x); the smallest is 1.
    errors
        Of each level: the root of the mean squared distance that a vertex may have, in such lengths.
    """

    node: Vec3
    voxel: tuple[float, float, float]
    errors: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many levels there are."""
        return len(self.errors)

    @cached_property
    def _scale(self) -> Doubles:
        return np.array(self.voxel[::-1], np.float64)

    def size(self, level: int) -> Doubles:
        """Of a node, x, y, z in voxels."""
        size: Doubles = np.array(self.node[::-1], np.float64) * 2**level
        return size

    def finest(
        self, numbers: NDArray[np.uint32], wanted: NDArray[np.bool_], first: Vec3, ends: Ends
    ) -> Meshes:
        """The surfaces in a node of level 0, from the node's begin on.

        Parameters
        ----------
        numbers
            uint32 (z, y, x): voxels of the node, whose faces lie on the centres of the outermost.
        wanted
            As `surfaces` takes it.
        first
            Where the first of these voxels lies, from the node's begin.
        ends
            Along x, y, z: nothing lies before the node. Half a voxel of surface does, and nodes can't: it is
            put on the node's face.
        """
        found = surfaces(numbers, wanted)
        found.vertices[:] += np.array(first[::-1], np.float32)
        np.maximum(found.vertices, 0, out=found.vertices)
        return self._simplified(found, 0, 0, ends)

    def unit(self, node: Meshes, ends: Ends) -> Meshes:
        """The unit of level 1, of a node of level 0."""
        return self._simplified(node, 1, 0, ends)

    def together(self, units: Sequence[tuple[Meshes, tuple[int, int, int]]], level: int) -> Meshes:
        """A node, of its units and the half in which each lies: 0 or 1 along x, y, z."""
        half = self.size(level - 1).astype(np.float32)
        return combined([(m, half * np.array(at, np.float32)) for m, at in units])

    def next_unit(self, node: Meshes, level: int, ends: Ends) -> Meshes:
        """The unit of the next level, of a node of a level from 1 on."""
        half = self.size(level - 1).astype(np.float32)
        return self._simplified(welded(node, half), level + 1, level, ends)

    def _simplified(self, meshes: Meshes, level: int, box: int, ends: Ends) -> Meshes:
        """``box``: the level whose node the meshes lie in."""
        if not len(meshes.faces):
            return meshes
        error, low, high = self.errors[level], np.zeros(3), self.size(box)
        return simplify(meshes, error, self._scale, low, high, np.array(ends))
