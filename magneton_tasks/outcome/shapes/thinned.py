"""Fewer triangles: vertices are moved to the points of a lattice, and those that meet become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.outcome.shapes.shape import Shape

#: Bits of a lattice's place along an axis, in a key of all three.
_BITS = 20


@dataclass(frozen=True)
class Lattice:
    """Points at whole multiples of a step from a corner.

    Attributes
    ----------
    begin_nm
        float64 (3,), x, y, z.
    step_nm
        The same along each axis.
    steps
        How many there are along the longest edge.
    """

    begin_nm: NDArray[np.float64]
    step_nm: float
    steps: int

    @classmethod
    def around(cls, shapes: Sequence[Shape], steps: int) -> Lattice:
        """That around shapes, with so many steps along their longest edge."""
        low = np.min([s.vertices.min(axis=0) for s in shapes], axis=0)
        high = np.max([s.vertices.max(axis=0) for s in shapes], axis=0)
        return cls(low, float((high - low).max()) / steps or 1.0, steps)

    def in_nm(self, shape: Shape) -> Shape:
        """A shape whose vertices are places on the lattice."""
        return replace(shape, vertices=shape.vertices * self.step_nm + self.begin_nm)


def on_lattice(shape: Shape, lattice: Lattice) -> Shape:
    """The shape with vertices on the lattice, each once; triangles that became lines are left out.

    Parts that met at equal vertices meet still. Vertices are in raster order, and triangles in that of
    their first corner: so neighbours have similar numbers.
    """
    at = np.rint((shape.vertices - lattice.begin_nm) / lattice.step_nm).astype(np.int64)
    keys = (at[:, 2] << 2 * _BITS) | (at[:, 1] << _BITS) | at[:, 0]
    _, first, where = np.unique(keys, return_index=True, return_inverse=True)
    faces = where[shape.faces].astype(np.int64)
    a, b, c = faces.T
    faces = _ordered(faces[(a != b) & (b != c) & (c != a)])
    return replace(shape, vertices=at[first].astype(np.float64), faces=faces)


def _ordered(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each triangle once, its smallest corner first, in their order."""
    begin = faces.argmin(axis=1)[:, np.newaxis]
    turned = np.take_along_axis(faces, (begin + np.arange(3)) % 3, axis=1)
    turned = turned[np.lexsort(turned.T[::-1])]
    is_first = np.ones(len(turned), bool)
    is_first[1:] = (turned[1:] != turned[:-1]).any(axis=1)
    return np.asarray(turned[is_first])
