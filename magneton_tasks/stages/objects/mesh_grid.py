"""The octree of meshes over a volume: where its nodes lie, and which of them a cell holds.

Nodes tile cells, and their faces lie on the centres of voxels, in the plane that neighbours share::

    voxels       0   1   2   3   4   5   6   7        cells of 4 voxels
    nodes        |-------------------------------> 0
                 |-- cell 0 ----|-- cell 1 ---

Where the volume ends, surfaces lie half a voxel beyond the last centre. On the high side that is in the
last node. On the low side it is in the node before, if nodes may begin there: see `NodeGrid.of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3
from magneton_tasks.formats.precomputed.meshes import Triple, morton
from magneton_tasks.stages.objects.maker import Space

#: Longest node, in voxels.
MOST_NODE = 64
#: Where cells have no divisor between that and this, a node is as long as a cell.
_LEAST_NODE = 24


@dataclass(frozen=True)
class NodeGrid:
    """Nodes by level and place, (z, y, x); those of level k are 2**k times as long.

    Attributes
    ----------
    volume
        In voxels of the mip.
    node
        Of level 0, in voxels.
    base
        The voxel on whose centre node (0, 0, 0) begins.
    lods
        How many levels there are.
    """

    volume: Box
    node: Vec3
    base: Vec3
    lods: int

    @classmethod
    def of(cls, space: Space, lods: int) -> NodeGrid:
        """The grid of a volume.

        Nodes are counted from voxel 0 if the volume's begin is a node's: WEBKNOSSOS doesn't turn
        ``grid_origin`` into nm. Places aren't negative, so surfaces before voxel 0 are put on its centre,
        half a voxel inwards. Elsewhere one node more is counted on the low side, of the coarsest level.
        """
        node = vec3(_node(length) for length in space.cell)
        begin = space.box.begin
        if all(b >= 0 and b % n == 0 for b, n in zip(begin, node, strict=True)):
            return cls(space.box, node, (0, 0, 0), lods)
        before = vec3(b - (n << (lods - 1)) for b, n in zip(begin, node, strict=True))
        return cls(space.box, node, before, lods)

    @property
    def chunk_shape(self) -> Triple:
        """Of manifests: x, y, z in voxels."""
        z, y, x = self.node
        return x, y, z

    @property
    def grid_origin(self) -> Triple:
        """Of manifests: a voxel's centre lies half a voxel after its begin."""
        z, y, x = self.base
        return x + 0.5, y + 0.5, z + 0.5

    def reach(self, box: Box) -> Box:
        """From the first centre of a cell's surfaces to the last, which belongs to it."""
        begins = zip(box.begin, self.volume.begin, self.base, strict=True)
        # half a voxel of surface before the volume, where there is a node for it
        begin = vec3(b - (b == v and b > base) for b, v, base in begins)
        return Box(begin, box.end)

    def places(self, reach: Box, level: int) -> list[Vec3]:
        """Nodes of a level that hold a part of a cell, in Morton order."""
        ranges = [
            range((b - base) // (n << level), ceil_div(e - base, n << level))
            for b, e, base, n in zip(reach.begin, reach.end, self.base, self.node, strict=True)
        ]
        return ordered([vec3(at) for at in product(*ranges)])

    def box(self, level: int, at: Vec3) -> Box:
        """From a node's first centre to its last."""
        size = vec3(n << level for n in self.node)
        begin = vec3(b + s * a for b, s, a in zip(self.base, size, at, strict=True))
        return Box.of_shape(size, begin)

    def ends(self, at: Vec3) -> tuple[bool, bool, bool]:
        """Along x, y, z: whether no node lies before one, although surfaces do."""
        z, y, x = (
            a == 0 and v == b for a, v, b in zip(at, self.volume.begin, self.base, strict=True)
        )
        return x, y, z

    def is_whole(self, level: int, at: Vec3, reach: Box) -> bool:
        """Whether a cell holds all of a node that there is of the volume."""
        return reach.contains(self.box(level, at).intersection(self.reach(self.volume)))


def children(at: Vec3) -> Iterator[tuple[Vec3, tuple[int, int, int]]]:
    """The eight nodes in a node, in Morton order; and in which half each lies along x, y, z."""
    for z, y, x in product(range(2), repeat=3):
        yield (2 * at[0] + z, 2 * at[1] + y, 2 * at[2] + x), (x, y, z)


def ordered(places: list[Vec3]) -> list[Vec3]:
    """By Morton code."""
    if len(places) < 2:
        return places
    codes = morton(np.array(places, np.int64)[:, ::-1])
    return [places[k] for k in np.argsort(codes, kind="stable")]


def _node(cell: int) -> int:
    """The longest part of a cell that tiles it, up to `MOST_NODE`."""
    for parts in range(ceil_div(cell, MOST_NODE), cell // _LEAST_NODE + 1):
        if cell % parts == 0:
            return cell // parts
    return cell
