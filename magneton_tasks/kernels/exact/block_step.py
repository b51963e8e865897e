"""The exact method in one block: its labels, and what it leaves open.

`segment_block_exact` is all that docs/exact.md says of segment. It sees
the block and one plane of affinities beyond each high face::

        low face                 high face
            |  block               |
       . . .|o-o-o-o-o-o-o-o-o-o-o-|- o        o  voxel     -  its edge to the voxel before it
            |                      |
      zeroed where no block        the plane that is given (zeros likewise)
      is behind it
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import (
    LEVELS_ADVICE,
    MAX_EXACT_BLOCK_VOX,
    ExactSettings,
    contradict,
)
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.exact.basins import Planes
from magneton_tasks.kernels.exact.block_faces import (
    Inner,
    Place,
    keys_in_volume,
    plane,
    positions_in_volume,
)
from magneton_tasks.kernels.exact.block_regions import (
    BlockStart,
    link_by_mean,
    link_small,
    start_block,
)
from magneton_tasks.kernels.exact.faces import Faces
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS, least_score
from magneton_tasks.kernels.exact.residual import (
    Basins,
    Edges,
    Mask,
    Residual,
    UInt8,
    UInt32,
    empty_residual,
)
from magneton_tasks.kernels.union_find import renumber

#: Bump when a block's labels or residual change; guarded by the golden test.
KERNEL_VERSION = versions.EXACT_BLOCK


class BlockCounts(NamedTuple):
    """What the steps did, for reports."""

    basins: int
    face_basins: int
    cells: int
    cell_edges: int
    """After clean-up."""
    regions: int
    region_edges: int
    """After size-limited linkage."""
    merges: int
    """Of mean linkage."""
    open_regions: int
    open_edges: int
    face_pairs: int


@dataclass(frozen=True, slots=True)
class BlockSegmentation:
    """What the block step makes of a block."""

    labels: UInt32
    """(z, y, x): 0: background; open regions 1..open, then the closed ones up to n_labels."""
    n_labels: int
    faces: Faces
    residual: Residual
    counts: BlockCounts


def segment_block_exact(
    affinity: UInt8, high: Planes, place: Place, settings: ExactSettings
) -> BlockSegmentation:
    """Segment one block.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x), C-contiguous; ``affinity[d][v]`` is the edge between voxel v and the one
        before it along axis d, 0 where either is masked. **Is written to**: edges across low faces
        without a neighbour become 0.
    high
        uint8 planes (y, x), (z, x), (z, y) beyond the high faces: channel d just beyond the face of
        axis d. Read as 0 where there is no neighbour.
    place, settings
        Where the block lies, and how to segment it.

    Raises
    ------
    BadDataError
        For a wrong shape or dtype, too many voxels, or a region too large to score.
    ConfigError
        If ``settings`` can't be.
    """
    check_settings(settings)
    check_block(affinity, high, place)
    high = close_outer_faces(affinity, high, place.inner)
    start = start_block(affinity, high, place.inner, settings)
    regions = start.regions
    cells, cell_edges = regions.n, regions.edges.u.size
    link_small(regions, settings)
    linked, linked_edges = regions.n, regions.edges.u.size
    merges = link_by_mean(regions, least_score(settings.threshold))
    residual = residual_of(start, place, settings)
    renumber(regions.labels.reshape(-1), regions.region_of)
    counts = BlockCounts(
        basins=start.basins,
        face_basins=residual.basins.region.size,
        cells=cells,
        cell_edges=cell_edges,
        regions=linked,
        region_edges=linked_edges,
        merges=merges,
        open_regions=residual.opens,
        open_edges=residual.edges.u.size,
        face_pairs=residual.pairs.a.size,
    )
    return BlockSegmentation(regions.labels, regions.n, start.faces, residual, counts)


def close_outer_faces(affinity: UInt8, high: Planes, inner: Inner) -> Planes:
    """Edges that lead to no voxel become 0: in place at low faces, in a copy at high ones."""
    planes = []
    for axis in range(3):
        low, up = inner[axis]
        if not low:
            plane(affinity[axis], (axis, 0))[...] = 0
        planes.append(np.ascontiguousarray(high[axis]) if up else np.zeros_like(high[axis]))
    return planes[0], planes[1], planes[2]


def residual_of(start: BlockStart, place: Place, settings: ExactSettings) -> Residual:
    """Step 8: what stays open of a block whose regions are linked."""
    regions, basins = start.regions, start.face_basins
    count = int(np.count_nonzero(regions.open_))  # these are numbered first
    if count == 0:
        return empty_residual()
    shape = regions.labels.shape
    where = ((shape[0], shape[1], shape[2]), place.origin, place.volume)
    small = (basins.sizes < settings.s_min) & (basins.key > 0)
    return Residual(
        count,
        _open_edges(regions.edges, count, where),
        Basins(
            regions.region_of[basins.cell],
            np.minimum(basins.sizes, settings.s_min).astype(np.uint32),
            np.where(small, keys_in_volume(basins.key, *where), 0),
            np.where(small, regions.region_of[basins.target], np.uint32(0)),
            basins.sides,
        ),
        basins.pairs._replace(key=keys_in_volume(basins.pairs.key, *where)),
    )


def _open_edges(edges: Edges, count: int, where: tuple[Vec3, Vec3, Vec3]) -> Edges:
    """Edges between the open regions 1..count."""
    left: Mask = (edges.u <= count) & (edges.v <= count)
    u, v = edges.u[left], edges.v[left]
    return Edges(
        np.minimum(u, v),
        np.maximum(u, v),
        edges.sum[left],
        edges.count[left],
        positions_in_volume(edges.last[left], *where),
        keys_in_volume(edges.key[left], *where),
    )


def check_settings(settings: ExactSettings) -> None:
    """Raise ConfigError for thresholds that contradict each other."""
    if contradict(settings.t_low, settings.t_high):
        raise ConfigError(
            f"t_low {settings.t_low} and t_high {settings.t_high} of the exact method",
            LEVELS_ADVICE,
        )


def check_block(affinity: UInt8, high: Planes, place: Place) -> None:
    """Raise BadDataError for arrays that don't fit together, or more than 32 bits can count."""
    if affinity.ndim != 4 or affinity.shape[0] != 3 or affinity.dtype != np.uint8:
        raise BadDataError(
            f"affinities of shape {affinity.shape} and type {affinity.dtype}, not uint8 (3, z, y, x)"
        )
    shape = affinity.shape[1:]
    if 0 in shape or not affinity.flags.c_contiguous:
        raise BadDataError(f"affinities of shape {affinity.shape} are empty or not C-contiguous")
    for axis, given in enumerate(high):
        needed = tuple(n for d, n in enumerate(shape) if d != axis)
        if given.shape != needed or given.dtype != np.uint8:
            raise BadDataError(
                f"the plane beyond the high face of axis {axis} is {given.shape} {given.dtype}, "
                f"not {needed} uint8"
            )
    if prod(shape) > MAX_EXACT_BLOCK_VOX:
        raise BadDataError(
            f"a block of {prod(shape)} voxels, more than {MAX_EXACT_BLOCK_VOX}",
            "use smaller blocks",
        )
    if 3 * prod(place.volume) >= 1 << KEY_BITS:
        raise BadDataError(f"a volume of {place.volume} voxels has more edges than 2^{KEY_BITS}")
