"""What is kept of each supervoxel of a block: how it merges, and what people want to know of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.exact.block_faces import Inner
from magneton_tasks.kernels.exact.residual import UInt8, UInt32
from magneton_tasks.kernels.exact.rounds.cut import Supervoxels
from magneton_tasks.kernels.exact.rounds.tables import Int64
from magneton_tasks.kernels.measure import boxes_and_sums


class SupervoxelRows(NamedTuple):
    """Row k - 1 is supervoxel k, 20 B each: what cuts read."""

    region: UInt32
    """As `cut.Supervoxels`; so are the next two."""
    up: UInt32
    score: UInt32
    voxels: Int64

    def table(self) -> Supervoxels:
        """As `cut.cut_blocks` takes it."""
        none = np.zeros(1, np.uint32)
        return Supervoxels(*(np.concatenate([none, column]) for column in self[:3]))

    def sizes(self) -> Int64:
        """Voxels, with a 0 for the background in front."""
        return np.concatenate([np.zeros(1, np.int64), self.voxels])


class SupervoxelShapes(NamedTuple):
    """Row k - 1 is supervoxel k, 49 B each; all counts from the block's begin, in voxels."""

    low_z: UInt32
    low_y: UInt32
    low_x: UInt32
    high_z: UInt32
    """First plane after it."""
    high_y: UInt32
    high_x: UInt32
    sum_z: Int64
    """Of the coordinates of its voxels."""
    sum_y: Int64
    sum_x: Int64
    border: UInt8
    """1: it touches the border of what is segmented."""


def describe(
    table: Supervoxels, sizes: Int64, labels: UInt32, inner: Inner
) -> tuple[SupervoxelRows, SupervoxelShapes]:
    """Both tables of a block.

    Parameters
    ----------
    table, sizes, labels
        As of `block.BlockSupervoxels`.
    inner
        Of each axis: whether its (low, high) face has a neighbour behind it.
    """
    low, high, total = boxes_and_sums(labels, sizes.size - 1)
    border = np.zeros(sizes.size - 1, np.uint8)
    for axis, (before, behind) in enumerate(inner):
        if not before:
            border[low[axis] == 0] = 1
        if not behind:
            border[high[axis] == labels.shape[axis]] = 1
    rows = SupervoxelRows._make(column[1:] for column in (*table, sizes))
    return rows, SupervoxelShapes._make((*low, *high, *total, border))
