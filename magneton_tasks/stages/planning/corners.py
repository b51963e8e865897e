"""How many regions, edges and supervoxels a block holds, counted on boxes in corners of blocks.

Most supervoxels of a block are crumbs that its faces cut off, so a sample box has such faces, too. And
an affinity map may be another one where it was predicted in boxes, and blocks are cut there too
(`Grid.of_blocks` moves cuts to the borders of chunks): so it lies at these very faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.block_faces import Inner, Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact

if TYPE_CHECKING:
    from magneton_tasks.formats.affinity import AffinityReader


#: Of each sample: at which side of its block it lies, along each axis (1: low). Each is there twice.
_SIDES = ((0, 0, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1))


@dataclass(frozen=True, slots=True)
class Corner:
    """A box in a corner of a block.

    Attributes
    ----------
    core
        The box.
    inner
        Of each axis: whether its (low, high) face is one of the block's, with a neighbour behind it.
    """

    core: Box
    inner: Inner


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What a sample box holds per voxel: regions and edges after clean-up, and supervoxels."""

    regions_per_voxel: float
    edges_per_voxel: float
    labels_per_voxel: float


def corner(grid: Grid, near: Box, number: int, edge: int) -> Corner:
    """A corner of the block that the middle of a box lies in.

    Parameters
    ----------
    number
        Of the sample, from 0: which corner.
    edge
        Of the corner in voxels along each axis, at most.
    """
    begin, end, inner = [], [], []
    for axis, cuts in enumerate(grid.cuts):
        middle = (near.begin[axis] + near.end[axis]) // 2
        n = len(cuts) - 1
        i = next(i for i in range(n) if middle < cuts[i + 1])
        low, high = cuts[i], cuts[i + 1]
        length = min(edge, high - low)
        if n == 1:  # no face: the box stays where it is
            first = min(max(middle - length // 2, low), high - length)
        elif i > 0 and (i == n - 1 or _SIDES[number % len(_SIDES)][axis]):
            first = low
        else:
            first = high - length
        begin.append(first)
        end.append(first + length)
        inner.append((first == low and i > 0, first + length == high and i < n - 1))
    return Corner(Box(vec3(begin), vec3(end)), (inner[0], inner[1], inner[2]))


def sample_counts(reader: AffinityReader, sampled: Corner, settings: ExactSettings) -> SampleCounts:
    """Segment a sample box as the block step does, and count."""
    core, inner = sampled.core, sampled.inner
    beyond = vec3(e + high for e, (_, high) in zip(core.end, inner, strict=True))
    affinity = reader.read_uint8(Box(core.begin, beyond))
    inside = tuple(slice(0, s) for s in core.shape)
    high = tuple(
        np.ascontiguousarray(
            affinity[(d, *(core.shape[d] if a == d else inside[a] for a in range(3)))]
        )
        if inner[d][1]
        else np.zeros([s for a, s in enumerate(core.shape) if a != d], np.uint8)
        for d in range(3)
    )
    # placed in the middle of a larger volume
    place = Place(0, core.shape, vec3(3 * s for s in core.shape), inner)
    block = np.ascontiguousarray(affinity[(slice(None), *inside)])
    found = segment_block_exact(block, high, place, settings)  # type: ignore[arg-type]
    return SampleCounts(
        found.counts.cells / core.voxels,
        found.counts.cell_edges / core.voxels,
        found.counts.regions / core.voxels,
    )
