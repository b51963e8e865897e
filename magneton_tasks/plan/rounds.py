"""Groups of blocks for the rounds of the exact method, and how large they may be; pure.

A round's groups are boxes of ``span`` blocks. Those of the first round are *fine* groups; what a
round sends is kept in slices by fine group, so that the next round's groups, each a box of fine
groups, read whole slices::

    6 x 5 blocks, fine groups of 2 x 2 (z left out)        a later round: 4 x 2
    +---+---+---+                                          +-------+---+
    |   |   |   |                                          |       |   |
    +---+---+---+                                          +-------+---+
    |   |   |   |                                          |       |   |
    +---+---+---+                                          +-------+---+
    |   |   |   |                                          |       |   |
    +---+---+---+                                          +-------+---+

Groups never shrink, and double along one axis at a time while no group gets more rows than a task
may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    blocks
        Blocks per axis, zyx.
    span
        Blocks per axis of a whole group; those at the high faces may have fewer.
    """

    blocks: Vec3
    span: Vec3

    @property
    def shape(self) -> Vec3:
        """Groups per axis."""
        return vec3(-(-n // s) for n, s in zip(self.blocks, self.span, strict=True))

    @property
    def cuts(self) -> tuple[Cuts, Cuts, Cuts]:
        """Where groups begin along each axis, in blocks, and the end."""
        z, y, x = ((*range(0, n, s), n) for n, s in zip(self.blocks, self.span, strict=True))
        return z, y, x

    def __len__(self) -> int:
        return prod(self.shape)

    def group_of(self, block: int) -> int:
        """The group of a block."""
        at = _position(block, self.blocks)
        return _number(vec3(p // s for p, s in zip(at, self.span, strict=True)), self.shape)

    def blocks_of(self, group: int) -> list[int]:
        """The blocks of a group, ascending."""
        at = _position(group, self.shape)
        spans = (
            range(p * s, min((p + 1) * s, n))
            for p, s, n in zip(at, self.span, self.blocks, strict=True)
        )
        return [_number(vec3(p), self.blocks) for p in product(*spans)]


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


def grown_span(blocks: Vec3, span: Vec3, most_rows: Callable[[Groups], int], budget: int) -> Vec3:
    """The largest span whose every group gets at most ``budget`` rows; at least ``span``.

    Parameters
    ----------
    blocks
        Per axis.
    span
        Of the round before, in blocks.
    most_rows
        What the group with the most rows gets.
    budget
        Rows that a task may hold.
    """
    best = span
    while any(s < n for s, n in zip(span, blocks, strict=True)):
        growing = [s if s < n else _DONE for s, n in zip(span, blocks, strict=True)]
        axis = growing.index(min(growing))
        span = vec3(s * 2 if a == axis else s for a, s in enumerate(span))
        if most_rows(Groups(blocks, span)) > budget:
            break
        best = span
    return best


_DONE = 1 << 62


def _position(number: int, shape: Vec3) -> Vec3:
    _, ny, nx = shape
    return number // (ny * nx), number // nx % ny, number % nx


def _number(position: Vec3, shape: Vec3) -> int:
    return (position[0] * shape[1] + position[1]) * shape[2] + position[2]
