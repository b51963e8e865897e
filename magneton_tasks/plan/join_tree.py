"""The tree of joins of the exact method: which blocks are joined together, level by level.

Level 1 joins groups of neighbouring blocks, level 2 groups of those groups, and so on until one
is left, so that no join needs the whole volume::

    6 x 5 blocks, fan-in 2 x 2 each level (z left out)

    level 0 (blocks)        level 1           level 2         level 3
    . . . . . .             +---+---+---+     +-------+---+   +-----------+
    . . . . . .             |   |   |   |     |       |   |   |           |
    . . . . . .             +---+---+---+     |       |   |   |           |
    . . . . . .             |   |   |   |     |       |   |   |           |
    . . . . . .             +---+---+---+     +-------+---+   |           |
                            |   |   |   |     |       |   |   |           |
                            +---+---+---+     +-------+---+   +-----------+

A volume of one block has one level all the same: its join has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from magneton_tasks.base.geometry import Vec3, ceil_div, vec3

#: As many slots for levels as a DAG has.
MAX_LEVELS = 6


@dataclass(frozen=True, slots=True)
class JoinTree:
    """Groups of blocks; groups of a level are numbered in raster order, as blocks are.

    Attributes
    ----------
    blocks
        Blocks per axis, zyx.
    fan_in
        Of each level, from the blocks up: how many groups of the level below one group joins, per
        axis. The last level has one group.
    """

    blocks: Vec3
    fan_in: tuple[Vec3, ...]

    def __post_init__(self) -> None:
        if self.shape(len(self.fan_in)) != (1, 1, 1):
            raise ValueError(f"{self.fan_in} doesn't join {self.blocks} blocks to one group")

    @classmethod
    def flat(cls, blocks: Vec3) -> JoinTree:
        """One join of all blocks."""
        return cls(blocks, (blocks,))

    @property
    def levels(self) -> int:
        return len(self.fan_in)

    def span(self, level: int) -> Vec3:
        """Blocks per axis of a whole group of a level; level 0 are the blocks."""
        return vec3(prod(f[a] for f in self.fan_in[:level]) for a in range(3))

    def shape(self, level: int) -> Vec3:
        """Groups per axis of a level."""
        return vec3(ceil_div(n, s) for n, s in zip(self.blocks, self.span(level), strict=True))

    def groups(self, level: int) -> int:
        """How many groups a level has."""
        return prod(self.shape(level))

    def group_of(self, level: int, position: Vec3) -> int:
        """The group of a level that the block at ``position`` in the grid is in."""
        return _number(
            vec3(p // s for p, s in zip(position, self.span(level), strict=True)), self.shape(level)
        )

    def children(self, level: int, group: int) -> list[int]:
        """The groups of the level below (level 1: the blocks) that a group joins, ascending."""
        below = self.shape(level - 1)
        at, fan_in = _position(group, self.shape(level)), self.fan_in[level - 1]
        spans = (
            range(p * f, min((p + 1) * f, n)) for p, f, n in zip(at, fan_in, below, strict=True)
        )
        return [_number(vec3(c), below) for c in product(*spans)]

    def extent(self, level: int, group: int) -> tuple[Vec3, Vec3]:
        """First block of a group along each axis, and the first beyond; of a block at level 0."""
        at, span = _position(group, self.shape(level)), self.span(level)
        begin = vec3(p * s for p, s in zip(at, span, strict=True))
        end = vec3(min(b + s, n) for b, s, n in zip(begin, span, self.blocks, strict=True))
        return begin, end

    def blocks_of(self, level: int, group: int) -> list[int]:
        """All blocks of a group, ascending."""
        begin, end = self.extent(level, group)
        spans = (range(b, e) for b, e in zip(begin, end, strict=True))
        return [_number(vec3(p), self.blocks) for p in product(*spans)]

    def faces(self, level: int, group: int) -> Iterator[tuple[int, int]]:
        """(block, axis) of each face that this join closes: to the next block along the axis.

        Both blocks are in the group, and no join below had both.
        """
        begin, end = self.extent(level, group)
        below = self.span(level - 1)
        for axis in range(3):
            borders = [k - 1 for k in range(begin[axis] + 1, end[axis]) if k % below[axis] == 0]
            spans = [
                borders if a == axis else range(b, e)
                for a, (b, e) in enumerate(zip(begin, end, strict=True))
            ]
            for position in product(*spans):
                yield _number(vec3(position), self.blocks), axis

    def outer_sides(self, level: int, group: int) -> Iterator[tuple[int, int]]:
        """(block, sides) of each block of a group that has faces to blocks outside it, ascending.

        ``sides`` has bit ``2 * axis + side`` set for such a face, side 0 low, 1 high.
        """
        begin, end = self.extent(level, group)
        for number in self.blocks_of(level, group):
            at, sides = _position(number, self.blocks), 0
            for axis in range(3):
                low = at[axis] == begin[axis] > 0
                high = at[axis] == end[axis] - 1 < self.blocks[axis] - 1
                sides |= low << (2 * axis) | high << (2 * axis + 1)
            if sides:
                yield number, sides


def _position(number: int, shape: Vec3) -> Vec3:
    _, ny, nx = shape
    return number // (ny * nx), number // nx % ny, number % nx


def _number(position: Vec3, shape: Vec3) -> int:
    return (position[0] * shape[1] + position[1]) * shape[2] + position[2]
