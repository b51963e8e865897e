"""The exact method in memory, cut into blocks in any way: what the stages do, without them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import BlockSegmentation, segment_block_exact
from magneton_tasks.kernels.exact.contacts import face_contacts
from magneton_tasks.kernels.exact.join import Joined, join
from magneton_tasks.kernels.exact.residual import Contacts, Joins, Residual, concatenate, empty
from magneton_tasks.kernels.global_ids import Pooling
from magneton_tasks.plan.join_tree import JoinTree

Affinity = npt.NDArray[np.uint8]
Cuts = Sequence[Sequence[int]]


class Grid(NamedTuple):
    """Blocks between cuts: along each axis those at 0, at the volume's end, and any in between."""

    cuts: Cuts

    @property
    def shape(self) -> Vec3:
        return vec3(len(c) - 1 for c in self.cuts)

    @property
    def volume(self) -> Vec3:
        return vec3(c[-1] for c in self.cuts)

    def positions(self) -> list[Vec3]:
        return [vec3(p) for p in product(*map(range, self.shape))]

    def core(self, position: Vec3) -> Box:
        spans = [list(pairwise(c))[p] for c, p in zip(self.cuts, position, strict=True)]
        return Box(vec3(s[0] for s in spans), vec3(s[1] for s in spans))

    def place(self, block: int) -> Place:
        position = self.positions()[block]
        z, y, x = ((p > 0, p + 1 < n) for p, n in zip(position, self.shape, strict=True))
        return Place(block, self.core(position).begin, self.volume, (z, y, x))


def regular(volume: Vec3, size: Vec3) -> Cuts:
    """Cuts for blocks of one size; the last ones may be smaller."""
    return [[*range(0, v, s), v] for v, s in zip(volume, size, strict=True)]


def one_block(volume: Vec3) -> Cuts:
    return regular(volume, volume)


def by_twos(blocks: Vec3) -> list[Vec3]:
    """Fan-in of 2 x 2 x 2 for as many levels as it takes."""
    return [(2, 2, 2)] * max((max(blocks) - 1).bit_length(), 1)


def masked(affinity: Affinity, mask: npt.NDArray[np.bool_] | None) -> Affinity:
    """A copy without the edges of voxels that aren't to be segmented."""
    affinity = affinity.copy()
    if mask is not None:
        for axis in range(3):
            affinity[axis][~mask] = 0
            behind = [slice(1, None) if d == axis else slice(None) for d in range(3)]
            before = [slice(None, -1) if d == axis else slice(None) for d in range(3)]
            affinity[(axis, *behind)][~mask[tuple(before)]] = 0
    return affinity


def segment_blocks(
    affinity: Affinity, grid: Grid, settings: ExactSettings
) -> list[BlockSegmentation]:
    """The block step of every block, in raster order."""
    padded = np.pad(affinity, ((0, 0), (0, 1), (0, 1), (0, 1)))
    found = []
    for block, position in enumerate(grid.positions()):
        core = grid.core(position)
        high: list[Any] = []
        for axis in range(3):
            beyond: list[slice | int] = list(core.slices())
            beyond[axis] = core.end[axis]
            high.append(np.ascontiguousarray(padded[(axis, *beyond)]))
        inside = np.ascontiguousarray(padded[(slice(None), *core.slices())])
        found.append(
            segment_block_exact(inside, (high[0], high[1], high[2]), grid.place(block), settings)
        )
    return found


def contacts_of(
    blocks: Sequence[BlockSegmentation], grid: Grid, block: int, axis: int, settings: ExactSettings
) -> Contacts:
    """Over the face between a block and the one behind it along the axis."""
    at = grid.positions()[block]
    behind = grid.positions().index(vec3(p + (d == axis) for d, p in enumerate(at)))
    return face_contacts(
        blocks[block].faces[axis, 1],
        blocks[behind].faces[axis, 0],
        axis,
        (block, behind),
        grid.place(behind).origin,
        grid.volume,
        settings,
    )


def join_group(
    children: list[Residual],
    blocks: Sequence[BlockSegmentation],
    grid: Grid,
    tree: JoinTree,
    level: int,
    group: int,
    settings: ExactSettings,
) -> Joined:
    """One join of a tree."""
    contacts = [
        contacts_of(blocks, grid, block, axis, settings) for block, axis in tree.faces(level, group)
    ]
    outer = list(tree.outer_sides(level, group))
    return join(
        children,
        concatenate([empty(Contacts), *contacts]),
        np.array([block for block, _ in outer], np.uint32),
        np.array([sides for _, sides in outer], np.uint8),
        settings,
    )


def join_all(
    blocks: Sequence[BlockSegmentation], grid: Grid, tree: JoinTree, settings: ExactSettings
) -> Joins:
    """All joins, level by level; what they unite."""
    below = [block.residual for block in blocks]
    found = [empty(Joins)]
    for level in range(1, tree.levels + 1):
        joined = [
            join_group(
                [below[c] for c in tree.children(level, group)],
                blocks,
                grid,
                tree,
                level,
                group,
                settings,
            )
            for group in range(tree.groups(level))
        ]
        below = [j.residual for j in joined]
        found += [j.joins for j in joined]
    assert all(column.size == 0 for table in _tables(below[0]) for column in table)
    return concatenate(found)  # type: ignore[no-any-return]


def segment_whole(
    affinity: Affinity,
    cuts: Cuts,
    settings: ExactSettings,
    fan_in: Sequence[Vec3] | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int64]:
    """Segment a volume block by block.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x).
    cuts
        See `Grid`.
    fan_in
        Of each level of joins; None: one join of all.
    mask
        bool (z, y, x), False: not to be segmented.
    """
    grid = Grid(cuts)
    tree = JoinTree.flat(grid.shape) if fan_in is None else JoinTree(grid.shape, tuple(fan_in))
    blocks = segment_blocks(masked(affinity, mask), grid, settings)
    joins = join_all(blocks, grid, tree, settings)
    pooling = Pooling(np.array([block.n_labels for block in blocks], np.int64))
    pooling.add(joins.block_a, joins.block_b, joins.label_a, joins.label_b)
    pool = pooling.finish()
    out = np.zeros(grid.volume, np.int64)
    for number, position in enumerate(grid.positions()):
        ids = np.append(np.uint64(0), pool.global_ids(number))
        out[grid.core(position).slices()] = ids[blocks[number].labels]
    return out


def same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Equal up to a renaming; 0 is 0."""
    if a.shape != b.shape or ((a == 0) != (b == 0)).any():
        return False
    _, dense_a = np.unique(a, return_inverse=True)
    _, dense_b = np.unique(b, return_inverse=True)
    pairs = np.unique(dense_a.ravel() * (int(dense_b.max(initial=0)) + 1) + dense_b.ravel())
    return len(pairs) == len(np.unique(dense_a)) == len(np.unique(dense_b))


def _tables(residual: Residual) -> list[Any]:
    return [getattr(residual, name) for name in residual.__slots__]
