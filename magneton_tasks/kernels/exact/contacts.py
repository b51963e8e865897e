"""Contacts: what crosses the face between two neighbouring blocks.

Voxel edges over the face are summed up for each pair of basins, so that a join never sees voxels::

    block a (low side)    |    block b (high side)
    basins and picks      |    basins, picks, and the affinity of the edge across
    of its last plane     |    of its first plane
"""

from __future__ import annotations

from math import prod

import numpy as np

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.faces import Face
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.residual import Contacts, Int64, Mask, UInt8, UInt32


def face_contacts(
    low: Face,
    high: Face,
    axis: int,
    blocks: tuple[int, int],
    origin_b: Vec3,
    volume: Vec3,
    settings: ExactSettings,
) -> Contacts:
    """Sum up the voxel edges over one face by pairs of basins; linear in its voxels.

    Peak: 17 B a voxel of the face, 4 B a basin, 33 B a contact above the result.

    Parameters
    ----------
    low
        The high face of block a, which lies on the low side; its affinity isn't read.
    high
        The low face of block b.
    axis
        Which the face is perpendicular to.
    blocks
        Indices of a and b.
    origin_b
        First voxel of b's core in the segmented box.
    volume
        Shape of the segmented box: what positions count over.
    settings
        Of which only ``t_high`` matters.

    Returns
    -------
    Contacts
        Sorted by (basin_a, basin_b); voxel edges at the background are left out.

    Raises
    ------
    BadDataError
        If the faces differ in shape, or the high one has no affinities.
    """
    if low.basins.shape != high.basins.shape or high.affinity is None:
        raise BadDataError(
            f"the faces of blocks {blocks[0]} and {blocks[1]} along axis {axis} have {low.basins.shape} and {high.basins.shape} voxels",
            "they were made on different grids: segment both blocks again",
        )
    # Copies: what a store returns may be read-only, which numba would compile for anew.
    basins_a, basins_b = low.basins.flatten(), high.basins.flatten()
    joined = low.picks | high.picks | (high.affinity >= settings.t_high)
    order = np.flatnonzero((basins_a > 0) & (basins_b > 0)).astype(np.uint32)
    # Sorting by b, then stably by a, sorts by (a, b); positions ascend within each pair.
    for basins in (basins_b, basins_a):
        order = ordered_by(basins, order, int(basins.max(initial=0)))
    pairs = int(_count_pairs(basins_a, basins_b, order))
    a, b, sum_, count = (np.zeros(pairs, np.uint32) for _ in range(4))
    last, key = (np.zeros(pairs, np.int64) for _ in range(2))
    is_joined = np.zeros(pairs, np.bool_)
    _add_up(
        basins_a,
        basins_b,
        high.affinity.flatten(),
        joined.ravel(),
        order,
        *_positions(axis, origin_b, volume),
        high.basins.shape[1],
        a,
        b,
        sum_,
        count,
        last,
        key,
        is_joined,
    )
    block_a, block_b = (np.full(pairs, block, np.uint32) for block in blocks)
    return Contacts(block_a, block_b, a, b, sum_, count, last, key, is_joined)


def _positions(axis: int, origin: Vec3, volume: Vec3) -> tuple[int, int, int]:
    """Position of the face's first edge, and how far apart its rows and its columns are."""
    steps = [3 * prod(volume[d + 1 :]) for d in range(3)]
    first = axis + sum(o * s for o, s in zip(origin, steps, strict=True))
    row, column = (s for d, s in enumerate(steps) if d != axis)
    return first, row, column


@njit(nogil=True)
def ordered_by(basins: UInt32, order: UInt32, most: int) -> UInt32:
    """The indices in ``order`` sorted by basin, 1..most; stable (a counting sort)."""
    starts = np.zeros(most + 2, np.int64)
    for i in order:
        starts[basins[i] + 1] += 1
    for basin in range(1, most + 2):
        starts[basin] += starts[basin - 1]
    ordered = np.empty_like(order)
    for i in order:
        ordered[starts[basins[i]]] = i
        starts[basins[i]] += 1
    return ordered


@njit(nogil=True)
def _count_pairs(basins_a: UInt32, basins_b: UInt32, order: UInt32) -> int:
    pairs = 0
    for k in range(order.size):
        i = order[k]
        before = order[max(k - 1, 0)]
        same = basins_a[i] == basins_a[before] and basins_b[i] == basins_b[before]
        pairs += k == 0 or not same
    return pairs


@njit(nogil=True)
def _add_up(
    basins_a: UInt32,
    basins_b: UInt32,
    affinity: UInt8,
    joined: Mask,
    order: UInt32,
    first: int,
    row: int,
    column: int,
    columns: int,
    a: UInt32,
    b: UInt32,
    sum_: UInt32,
    count: UInt32,
    last: Int64,
    key: Int64,
    is_joined: Mask,
) -> None:
    """Fill the columns of contacts from the voxels in their order."""
    pair = -1
    for i in order:
        position = first + row * (i // columns) + column * (i % columns)
        edge_key = (np.int64(affinity[i]) << KEY_BITS) - position
        if pair < 0 or a[pair] != basins_a[i] or b[pair] != basins_b[i]:
            pair += 1
            a[pair] = basins_a[i]
            b[pair] = basins_b[i]
            key[pair] = edge_key
        sum_[pair] += affinity[i]
        count[pair] += 1
        last[pair] = position  # they ascend
        key[pair] = max(key[pair], edge_key)
        is_joined[pair] |= joined[i]
