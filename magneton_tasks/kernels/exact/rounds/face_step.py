"""One face between two blocks: what touches over it by regions, and the basins that lie on it alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.contacts import ordered_by
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.residual import BasinPairs, Contacts, Residual, UInt8, UInt32
from magneton_tasks.kernels.exact.rounds.parts import Touching, picked, whole_basins
from magneton_tasks.kernels.exact.rounds.tables import (
    MUST,
    Crossings,
    FaceTables,
    Int64,
    Links,
    Mask,
    PartPairs,
    Parts,
    RegionContacts,
    names_of,
    stack,
    take,
)

#: Bump when the same blocks make other tables of a face.
KERNEL_VERSION = versions.EXACT_FACES

_SIDES, _SIZE, _KEY = map(Parts._fields.index, ("sides", "size", "key"))
#: Faces that a basin lies on, by its sides' bits.
_FACES = np.array([bin(sides).count("1") for sides in range(64)], np.uint8)


class BlockParts(NamedTuple):
    """What a block's faces need of it."""

    block: int
    parts: Parts
    """Part k is row k - 1."""
    pairs: BasinPairs
    """By numbers of parts."""
    sizes: Int64
    """(open regions,): of region 1, 2, ..."""


def parts_of(block: int, residual: Residual, sizes: Int64) -> BlockParts:
    """From the residual of a block, numbered ``block``; ``sizes`` as `BlockParts.sizes`."""
    basins = residual.basins
    parts = Parts(
        names_of(block, np.arange(1, basins.region.size + 1)),
        residual.basins.sides,
        basins.size.astype(np.int64),
        basins.key,
        names_of(block, basins.region),
        np.where(basins.target > 0, names_of(block, basins.target), 0),
    )
    return BlockParts(block, parts, residual.pairs, sizes)


def decide_face(
    low: BlockParts, high: BlockParts, axis: int, contacts: Contacts, settings: ExactSettings
) -> FaceTables:
    """Sum up contacts by regions, and decide what this face can (`parts`).

    Linear in the rows of both blocks.

    Parameters
    ----------
    low, high
        The blocks on both sides.
    axis
        Which the face is perpendicular to.
    contacts
        Over this face, of `contacts.face_contacts`.

    Raises
    ------
    BadDataError
        If contacts don't belong to these blocks.
    """
    s_min = max(settings.s_min, 0)
    below = _on_face(low, 2 * axis + 1, 0)
    above = _on_face(high, 2 * axis, below.parts.size)
    part_sides, sizes, keys = (
        np.concatenate([low.parts[column][below.parts], high.parts[column][above.parts]])
        for column in (_SIDES, _SIZE, _KEY)
    )
    a, b = below.row_of[contacts.basin_a], above.row_of[contacts.basin_b]
    if min(a.min(initial=0), b.min(initial=0)) < 0:
        raise BadDataError(
            f"a contact names a basin that is on no face between blocks {low.block} and {high.block}",
            "one of them was segmented again: run faces again",
        )
    across = Touching(a, b, contacts.key)
    between = Touching(*map(np.concatenate, zip(below.rows, above.rows, strict=True)))
    roots, basin_sizes = whole_basins(sizes, across, contacts.joined, s_min)
    small, on_many = basin_sizes < s_min, _FACES[part_sides] > 1
    goes_on = np.zeros(roots.size, np.bool_)
    goes_on[roots[on_many]] = True
    picks = picked(keys, roots, small & ~goes_on, between, across, least_key(settings.t_size))
    waits: Mask = (small & goes_on)[roots]
    rows = _Rows(
        picks.own,
        picks.pairs,
        waits,
        _either_waits(waits, between),
        ~small[roots] & on_many & (sizes < s_min),
    )
    one, other = _of_side(below, rows.before(below)), _of_side(above, rows.behind(below))
    return FaceTables(
        _region_contacts(low, high, contacts, contacts.joined | picks.crossings),
        stack([one[0], other[0]]),
        stack([one[1], other[1]]),
        _crossings(low, high, contacts, np.flatnonzero(waits[a] | waits[b])),
        stack([one[2], other[2]]),
        np.concatenate([one[3], other[3]]),
    )


# ------------------------------------------------------------------ one side of a face
class _Side(NamedTuple):
    """What of a block lies on a face."""

    block: BlockParts
    parts: Int64
    """Rows of the parts on the face."""
    row_of: Int64
    """(basins + 1,): of each basin of the block among the parts of both sides; -1: it isn't there."""
    pairs: Int64
    """Rows of the pairs with an end on the face."""
    rows: Touching
    """These pairs, by rows of the parts of both sides."""


class _Rows(NamedTuple):
    """Which parts and pairs of a face, or of one side of it."""

    picked: Mask
    picked_pairs: Mask
    waiting: Mask
    waiting_pairs: Mask
    large: Mask

    def before(self, side: _Side) -> _Rows:
        """Those of ``side``, which comes first."""
        parts, pairs = slice(side.parts.size), slice(side.pairs.size)
        return self._of(parts, pairs)

    def behind(self, side: _Side) -> _Rows:
        """Those of the other side."""
        parts, pairs = slice(side.parts.size, None), slice(side.pairs.size, None)
        return self._of(parts, pairs)

    def _of(self, parts: slice, pairs: slice) -> _Rows:
        return _Rows(*(mask[rows] for mask, rows in zip(self, [parts, pairs] * 3, strict=False)))


def _on_face(block: BlockParts, bit: int, first: int) -> _Side:
    """Rows count from ``first``."""
    a, b, key = block.pairs
    parts, row_of, pairs, rows_a, rows_b = _rows_on_face(block.parts.sides, a, b, 1 << bit, first)
    return _Side(block, parts, row_of, pairs, Touching(rows_a, rows_b, key[pairs]))


@njit(nogil=True)
def _rows_on_face(
    sides: UInt8, a: UInt32, b: UInt32, side: int, first: int
) -> tuple[Int64, Int64, Int64, Int64, Int64]:
    row_of = np.full(sides.size + 1, -1, np.int64)
    parts = np.empty(sides.size, np.int64)
    count = 0
    for part in range(sides.size):
        if sides[part] & side:
            row_of[part + 1] = first + count
            parts[count] = part
            count += 1
    touching = np.empty(a.size, np.int64)
    rows_a, rows_b = np.empty(a.size, np.int64), np.empty(a.size, np.int64)
    found = 0
    for k in range(a.size):
        touching[found], rows_a[found], rows_b[found] = k, row_of[a[k]], row_of[b[k]]
        found += rows_a[found] >= 0 or rows_b[found] >= 0
    return parts[:count], row_of, touching[:found], rows_a[:found], rows_b[:found]


def _of_side(side: _Side, rows: _Rows) -> tuple[Links, Parts, PartPairs, Int64]:
    """Links, waiting parts, pairs of these, and large parts of one side."""
    number, parts, pairs = side.block.block, side.block.parts, side.block.pairs
    picked, paired = side.parts[rows.picked], side.pairs[rows.picked_pairs]
    links = Links(
        np.concatenate([parts.region[picked], -names_of(number, pairs.a[paired])]),
        np.concatenate([parts.target[picked], -names_of(number, pairs.b[paired])]),
    )
    left = side.pairs[rows.waiting_pairs]
    a, b = names_of(number, pairs.a[left]), names_of(number, pairs.b[left])
    waiting = take(parts, side.parts[rows.waiting])
    return links, waiting, PartPairs(a, b, pairs.key[left]), parts.part[side.parts[rows.large]]


def _either_waits(waits: Mask, between: Touching) -> Mask:
    padded = np.append(waits, False)  # row -1
    either: Mask = padded[between.a] | padded[between.b]
    return either


# ------------------------------------------------------------------ contacts
def _crossings(low: BlockParts, high: BlockParts, contacts: Contacts, rows: Int64) -> Crossings:
    a, b = (basin[rows].astype(np.int64) - 1 for basin in (contacts.basin_a, contacts.basin_b))
    return Crossings(
        low.parts.part[a],
        high.parts.part[b],
        low.parts.region[a],
        high.parts.region[b],
        contacts.key[rows],
        contacts.joined[rows],
    )


def _region_contacts(
    low: BlockParts, high: BlockParts, contacts: Contacts, must: Mask
) -> RegionContacts:
    a, b, *columns = _sum_up(
        low.parts.region,
        high.parts.region,
        low.sizes.size,
        high.sizes.size,
        contacts.basin_a,
        contacts.basin_b,
        contacts.sum,
        contacts.count,
        contacts.last,
        contacts.key,
        must,
    )
    sizes = low.sizes[a - 1], high.sizes[b - 1]
    return RegionContacts(names_of(low.block, a), names_of(high.block, b), *sizes, *columns)


@njit(nogil=True)
def _sum_up(
    region_a: Int64,
    region_b: Int64,
    regions_a: int,
    regions_b: int,
    basin_a: UInt32,
    basin_b: UInt32,
    sum_: UInt32,
    count: UInt32,
    last: Int64,
    key: Int64,
    must: Mask,
) -> tuple[Int64, Int64, Int64, Int64, Int64, Int64]:
    """One row a pair of regions, by their labels, sorted."""
    rows = basin_a.size
    a, b = np.empty(rows, np.uint32), np.empty(rows, np.uint32)
    for k in range(rows):
        a[k] = region_a[basin_a[k] - 1] & 0xFFFFFFFF
        b[k] = region_b[basin_b[k] - 1] & 0xFFFFFFFF
    every = np.arange(rows).astype(np.uint32)
    order = ordered_by(a, ordered_by(b, every, regions_b), regions_a)
    ends = np.empty((2, rows), np.int64)
    sums, counts = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    lasts, keys = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    row = -1
    for i in range(rows):
        k = order[i]
        if row < 0 or ends[0, row] != a[k] or ends[1, row] != b[k]:
            row += 1
            ends[0, row], ends[1, row] = a[k], b[k]
            lasts[row], keys[row] = last[k], key[k]
        sums[row] += sum_[k]
        counts[row] += count[k]
        lasts[row] = max(lasts[row], last[k])
        keys[row] = max(keys[row], MUST if must[k] else key[k])
    row += 1
    return ends[0, :row], ends[1, :row], sums[:row], counts[:row], lasts[:row], keys[:row]
