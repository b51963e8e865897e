"""Voxels of each label of a block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit


class LabelSizes(NamedTuple):
    """Voxels of each label, uint32; index label - 1."""

    core: NDArray[np.uint32]
    read: NDArray[np.uint32]


def label_sizes(labels: NDArray[np.uint32], core: tuple[slice, slice, slice], n: int) -> LabelSizes:
    """Voxels of the labels 1..n in the core (zyx slices into ``labels``) and in the whole block."""
    bounds = [s.indices(length)[:2] for s, length in zip(core, labels.shape, strict=True)]
    counts = np.zeros((2, n + 1), np.uint32)
    _count_sizes(labels, np.array(bounds, np.int64), counts[0], counts[1])
    return LabelSizes(counts[0, 1:], counts[1, 1:])


@njit(nogil=True)
def _count_sizes(
    labels: NDArray[np.uint32],
    bounds: NDArray[np.int64],
    core: NDArray[np.uint32],
    read: NDArray[np.uint32],
) -> None:
    """Add the voxels of each label to ``core`` (inside the bounds) and ``read`` (all)."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row = bounds[0, 0] <= z < bounds[0, 1] and bounds[1, 0] <= y < bounds[1, 1]
            for x in range(nx):
                label = labels[z, y, x]
                read[label] += np.uint32(1)
                if row and bounds[2, 0] <= x < bounds[2, 1]:
                    core[label] += np.uint32(1)
