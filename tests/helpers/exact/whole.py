"""The exact method in memory, cut into blocks in any way: what the stages do, without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.basins import Planes
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import BlockSegmentation, segment_block_exact

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
        spans = [c[p : p + 2] for c, p in zip(self.cuts, position, strict=True)]
        return Box(vec3(s[0] for s in spans), vec3(s[1] for s in spans))

    def place(self, block: int) -> Place:
        position = vec3(np.unravel_index(block, self.shape))
        z, y, x = ((p > 0, p + 1 < n) for p, n in zip(position, self.shape, strict=True))
        return Place(block, self.core(position).begin, self.volume, (z, y, x))


def regular(volume: Vec3, size: Vec3) -> Cuts:
    """Cuts for blocks of one size; the last ones may be smaller."""
    return [[*range(0, v, s), v] for v, s in zip(volume, size, strict=True)]


def one_block(volume: Vec3) -> Cuts:
    return regular(volume, volume)


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
    return [
        segment_block_exact(inside, high, place, settings)
        for inside, high, place in blocks_and_planes(affinity, grid)
    ]


def blocks_and_planes(affinity: Affinity, grid: Grid) -> Iterator[tuple[Affinity, Planes, Place]]:
    """What the block step of each block reads: a copy of it, and the planes beyond its high faces."""
    padded = np.pad(affinity, ((0, 0), (0, 1), (0, 1), (0, 1)))
    for block, position in enumerate(grid.positions()):
        core = grid.core(position)
        high: list[Any] = []
        for axis in range(3):
            beyond: list[slice | int] = list(core.slices())
            beyond[axis] = core.end[axis]
            high.append(np.ascontiguousarray(padded[(axis, *beyond)]))
        inside = np.ascontiguousarray(padded[(slice(None), *core.slices())])
        yield inside, (high[0], high[1], high[2]), grid.place(block)


def same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    """Equal up to a renaming; 0 is 0."""
    if a.shape != b.shape or ((a == 0) != (b == 0)).any():
        return False
    _, dense_a = np.unique(a, return_inverse=True)
    _, dense_b = np.unique(b, return_inverse=True)
    pairs = np.unique(dense_a.ravel() * (int(dense_b.max(initial=0)) + 1) + dense_b.ravel())
    return len(pairs) == len(np.unique(dense_a)) == len(np.unique(dense_b))
