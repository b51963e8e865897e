"""One face between two blocks: what touches over it by regions, and the basins that lie on it alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.exact.fixed_point import least_key
from magneton_tasks.kernels.exact.residual import BasinPairs, Contacts, Residual
from magneton_tasks.kernels.exact.rounds.adding import add_parallel
from magneton_tasks.kernels.exact.rounds.parts import Touching, links_of, picked, whole_basins
from magneton_tasks.kernels.exact.rounds.tables import (
    MUST,
    Crossings,
    FaceTables,
    Int64,
    Mask,
    PartPairs,
    Parts,
    RegionContacts,
    labels_of,
    names_of,
    stack,
    take,
)

#: Bump when the same blocks make other tables of a face.
KERNEL_VERSION = versions.EXACT_FACES

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
        residual.face_basins.sides,
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

    Linear in the rows of both blocks but for one sort of contacts; peak about 200 B a part and
    150 B a contact.

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
    on_face = [_on_face(low, 2 * axis + 1, 0)]
    on_face.append(_on_face(high, 2 * axis, on_face[0].parts.part.size))
    parts, pairs = stack([side.parts for side in on_face]), stack([s.pairs for s in on_face])
    between = Touching(
        *(np.concatenate(columns) for columns in zip(*(s.rows for s in on_face), strict=True))
    )
    a, b = on_face[0].row_of[contacts.basin_a], on_face[1].row_of[contacts.basin_b]
    if min(a.min(initial=0), b.min(initial=0)) < 0:
        raise BadDataError(
            f"a contact names a basin that is on no face between blocks {low.block} and {high.block}",
            "one of them was segmented again: run faces again",
        )
    across = Touching(a, b, contacts.key)
    roots, sizes = whole_basins(parts, across, contacts.joined, s_min)
    goes_on = np.zeros(roots.size, np.bool_)
    on_many = _FACES[parts.sides] > 1
    goes_on[roots[on_many]] = True
    small = sizes < s_min
    picks = picked(parts, roots, small & ~goes_on, between, across, least_key(settings.t_size))
    waits: Mask = (small & goes_on)[roots]
    large = ~small[roots] & on_many & (parts.size < s_min)
    crossings = Crossings(
        parts.part[a],
        parts.part[b],
        parts.region[a],
        parts.region[b],
        contacts.key,
        contacts.joined,
    )
    return FaceTables(
        _region_contacts(
            crossings, contacts, contacts.joined | picks.crossings, low.sizes, high.sizes
        ),
        links_of(parts, pairs, picks),
        take(parts, waits),
        take(crossings, waits[a] | waits[b]),
        take(pairs, _either_waits(waits, between)),
        parts.part[large],
    )


class _Side(NamedTuple):
    """What of a block lies on a face."""

    parts: Parts
    pairs: PartPairs
    """With an end on the face."""
    rows: Touching
    """The same by rows of the parts of both sides."""
    row_of: Int64
    """(basins + 1,): of each basin of the block; -1: it isn't on the face."""


def _on_face(block: BlockParts, bit: int, first: int) -> _Side:
    """Rows count from ``first``."""
    is_on = (block.parts.sides >> np.uint8(bit) & np.uint8(1)) > 0
    row_of = np.full(is_on.size + 1, -1)
    row_of[1:][is_on] = np.arange(first, first + np.count_nonzero(is_on))
    a, b, key = block.pairs
    rows_a, rows_b = row_of[a], row_of[b]
    touching = np.flatnonzero((rows_a >= 0) | (rows_b >= 0))
    return _Side(
        take(block.parts, is_on),
        PartPairs(
            names_of(block.block, a[touching]), names_of(block.block, b[touching]), key[touching]
        ),
        Touching(rows_a[touching], rows_b[touching], key[touching]),
        row_of,
    )


def _either_waits(waits: Mask, between: Touching) -> Mask:
    padded = np.append(waits, False)  # row -1
    either: Mask = padded[between.a] | padded[between.b]
    return either


def _region_contacts(
    crossings: Crossings, contacts: Contacts, must: Mask, sizes_a: Int64, sizes_b: Int64
) -> RegionContacts:
    a, b = crossings.region_a, crossings.region_b
    return add_parallel(
        RegionContacts(
            a,
            b,
            sizes_a[labels_of(a) - 1],
            sizes_b[labels_of(b) - 1],
            contacts.sum.astype(np.int64),
            contacts.count.astype(np.int64),
            contacts.last,
            np.where(must, MUST, crossings.key),
        )
    )
