"""How dense a sample box is: what its initial region graph holds, which decides on memory and time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.methods import SegmentSettings
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.overlap.segment import (
    Float32,
    Mask,
    agglomerate,
    fragments_of,
    has_foreground,
)

#: Voxels left out on each side of a sample box, where cutting has changed the fragments.
_SAMPLE_MARGIN_VOX = 8


class Density(NamedTuple):
    """What the initial region graph holds, each per voxel; decides on memory and time."""

    fragments_per_voxel: float
    edges_per_voxel: float
    faces_per_voxel: float


def graph_density(affinity: Float32, settings: SegmentSettings) -> Density:
    """Density of the region graph before any merge, from a sample box.

    Each fragment counts by its share of voxels, each edge by its share of faces, in the box
    without its rim; so cutting the box out of the volume adds next to nothing.

    Raises as `segment_block` does.
    """
    affinity, fragments = fragments_of(affinity, settings, None)
    if fragments is None:
        if not has_foreground(affinity, settings):
            return Density(0.0, 0.0, 0.0)
        # mean affinity, merged up to nothing: the fragments as waterz's watershed leaves them
        (fragments,) = agglomerate(affinity, None, settings, parse_scoring("mean"), [0.0])
    shape = fragments.shape
    margin = [min(_SAMPLE_MARGIN_VOX, (n - 1) // 4) for n in shape]
    inner = np.array([[m, n - m] for m, n in zip(margin, shape, strict=True)], np.int64)
    voxels = int(np.prod(inner[:, 1] - inner[:, 0]))
    sizes = np.bincount(fragments.reshape(-1))
    keys, inside = _faces(fragments, inner)
    _, index, faces = np.unique(keys, return_inverse=True, return_counts=True)
    return Density(
        _fragment_weight(fragments, sizes, inner) / voxels,
        float((1.0 / faces[index[inside]]).sum()) / voxels,
        int(inside.sum()) / voxels,
    )


@njit(nogil=True)
def _fragment_weight(
    fragments: NDArray[np.uint64], sizes: NDArray[np.int64], inner: NDArray[np.int64]
) -> float:
    """Fragments in the inner box, each by its share of voxels there."""
    total = 0.0
    for z in range(inner[0, 0], inner[0, 1]):
        for y in range(inner[1, 0], inner[1, 1]):
            for x in range(inner[2, 0], inner[2, 1]):
                fragment = fragments[z, y, x]
                if fragment != 0:
                    total += 1.0 / sizes[fragment]
    return total


def _faces(
    fragments: NDArray[np.uint64], inner: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], Mask]:
    """A key for each face between two fragments, and whether its voxel is in the inner box."""
    keys, inside = [], []
    in_box = np.zeros(fragments.shape, np.bool_)
    in_box[tuple(slice(b, e) for b, e in inner)] = True
    for d in range(3):
        a = fragments[(slice(None),) * d + (slice(1, None),)]
        b = fragments[(slice(None),) * d + (slice(None, -1),)]
        differ = (a != b) & (a != 0) & (b != 0)
        low, high = np.minimum(a[differ], b[differ]), np.maximum(a[differ], b[differ])
        keys.append(low << np.uint64(32) | high)
        inside.append(in_box[(slice(None),) * d + (slice(1, None),)][differ])
    return np.concatenate(keys), np.concatenate(inside)
