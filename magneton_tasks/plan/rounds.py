"""Groups of blocks for the rounds of the exact method; pure.

A round's groups are boxes of blocks, all between the same cuts along each axis. Those of the first round
are *fine* groups; what a round sends is kept in slices by fine group, so that the next round's groups,
each a box of fine groups, read whole slices::

    6 x 5 blocks, fine groups of 2 x 2 (z left out)        a later round
    +---+---+---+                                          +---+-------+
    |   |   |   |                                          |   |       |
    +---+---+---+                                          |   |       |
    |   |   |   |                                          |   |       |
    +---+---+---+                                          +---+-------+
    |   |   |   |                                          |   |       |
    +---+---+---+                                          +---+-------+
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from math import prod

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.grid import Cuts, Grid
from magneton_tasks.base.methods import ExactSettings


@dataclass(frozen=True, slots=True)
class Groups:
    """Boxes of blocks, numbered in raster order, as blocks are.

    Attributes
    ----------
    cuts
        Of each axis, zyx, in blocks: 0, where each further group begins, and how many blocks there are.
    """

    cuts: tuple[Cuts, Cuts, Cuts]

    @classmethod
    def of_span(cls, blocks: Vec3, span: Vec3) -> Groups:
        """Of ``span`` blocks each; those at the high faces may have fewer."""
        z, y, x = ((*range(0, n, s), n) for n, s in zip(blocks, span, strict=True))
        return cls((z, y, x))

    @property
    def blocks(self) -> Vec3:
        """Blocks per axis."""
        return vec3(cuts[-1] for cuts in self.cuts)

    @property
    def shape(self) -> Vec3:
        """Groups per axis."""
        return vec3(len(cuts) - 1 for cuts in self.cuts)

    def __len__(self) -> int:
        return prod(self.shape)

    def group_of(self, block: int) -> int:
        """The group of a block."""
        at = _position(block, self.blocks)
        of_axis = (bisect_right(c, p) - 1 for c, p in zip(self.cuts, at, strict=True))
        return _number(vec3(of_axis), self.shape)

    def blocks_of(self, group: int) -> list[int]:
        """The blocks of a group, ascending."""
        at = _position(group, self.shape)
        ranges = (range(c[p], c[p + 1]) for c, p in zip(self.cuts, at, strict=True))
        return [_number(vec3(p), self.blocks) for p in product(*ranges)]


def grid_of(blocks: Grid, groups: Groups) -> Grid:
    """The groups as a grid over the blocks' cores."""
    z, y, x = (
        tuple(cuts[i] for i in at) for cuts, at in zip(blocks.cuts, groups.cuts, strict=True)
    )
    return Grid((z, y, x))


#: The block on the low side, and the axis: the face to the next block along it.
Face = tuple[int, int]


def faces_of(shape: Vec3, blocks: Iterable[int]) -> list[Face]:
    """All faces of some blocks that have a block on either side, each once, ascending.

    Parameters
    ----------
    shape
        Blocks per axis.
    """
    found = set()
    for block in blocks:
        at = _position(block, shape)
        for axis in range(3):
            if at[axis] + 1 < shape[axis]:
                found.add((block, axis))
            if at[axis] > 0:
                before = vec3(p - (a == axis) for a, p in enumerate(at))
                found.add((_number(before, shape), axis))
    return sorted(found)


def reach_of(settings: ExactSettings) -> int:
    """Voxels around a group within which a small basin may reach into it."""
    return max(settings.s_min - 1, 1)


def blocks_within(grid: Grid, groups: Groups, group: int, voxels: int) -> list[int]:
    """Blocks with a voxel at most so many voxels from a group, its own included; ascending."""
    own = groups.blocks_of(group)
    low, high = grid.core(own[0]), grid.core(own[-1])
    ranges = []
    for axis, cuts in enumerate(grid.cuts):
        begin, end = low.begin[axis] - voxels, high.end[axis] + voxels
        near = [i for i in range(len(cuts) - 1) if cuts[i + 1] > begin and cuts[i] < end]
        ranges.append(near)
    return [grid.index(vec3(p)) for p in product(*ranges)]


def _position(number: int, shape: Vec3) -> Vec3:
    _, ny, nx = shape
    return number // (ny * nx), number // nx % ny, number % nx


def _number(position: Vec3, shape: Vec3) -> int:
    return (position[0] * shape[1] + position[1]) * shape[2] + position[2]
