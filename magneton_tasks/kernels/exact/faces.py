"""A block's faces: what its neighbours need to know of it."""

from __future__ import annotations

from typing import NamedTuple

from magneton_tasks.kernels.exact.residual import Mask, UInt8, UInt32

#: (axis, side): axis 0, 1, 2 for z, y, x; side 0 low, 1 high
Side = tuple[int, int]


class Face(NamedTuple):
    """One face with a neighbour behind it; planes in the order of the other two axes."""

    basins: UInt32
    """Basin of each voxel, in the block's own count of face basins 1..n; 0: background."""
    picks: Mask
    """Voxels whose best edge crosses this face."""
    affinity: UInt8 | None
    """Affinity of the edges that cross it; of low faces only, None for high ones."""


Faces = dict[Side, Face]
