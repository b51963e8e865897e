"""What blocks, faces, rounds and cuts hand to each other: tables of equally long columns.

A *name* is ``block << 32 | label``: of a region one of its members' (the largest region's when
regions merge), of an object its smallest supervoxel's. Names, positions and keys count over the
whole volume and mean the same in every task. A *ghost* is a region that another task has in its
hands this round. A *half-edge* is an edge as one of its ends sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.exact.residual import UInt8, UInt32

Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: A key above all keys of voxel edges: these two are one object for certain.
MUST = np.int64(1) << 62
#: Score of a merge that has none, above all scores: two parts of a basin, or a small region's.
NO_SCORE = 0xFFFFFFFF

#: Bits of a label in a name.
LABEL_BITS = 32


class Nodes(NamedTuple):
    """Open regions, as a task of a round gets them; 32 B each."""

    name: Int64
    size: Int64
    """Voxels, all of them."""
    least: Int64
    """Its smallest supervoxel's name."""
    low: UInt32
    """Lowest score of a merge inside; `NO_SCORE`: none."""
    at: UInt32
    """A block of the group that it goes to."""


class HalfEdges(NamedTuple):
    """Edges as region ``u`` sees them, 60 B each."""

    u: Int64
    v: Int64
    at: UInt32
    """A block of the group that ``v`` was in: its names tell what became of ``v``."""
    size_v: Int64
    sum: Int64
    count: Int64  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    last: Int64
    key: Int64


class Names(NamedTuple):
    """What became of each region of a task in a round, sorted by ``old``, 61 B each."""

    old: Int64
    new: Int64
    """Of the set that it is in now, at the lowest threshold."""
    size: Int64
    """The set's."""
    open: Mask
    """The set goes on in the next round."""
    at: UInt32
    """A block of the group where it does."""
    low: UInt32
    """Lowest score of a merge inside the set."""
    least: Int64
    """Of the region itself: its smallest supervoxel."""
    own_size: Int64
    own_low: UInt32
    up: UInt32
    """The region, with a smaller ``least``, that it was merged into, counted from 0 among those that
    weren't merged without a score (nearly all are, and so these are few numbers); itself: none."""
    score: UInt32
    """At which it was."""


class RegionContacts(NamedTuple):
    """What touches over a face, summed up by regions, sorted by (a, b), 64 B each."""

    a: Int64
    b: Int64
    size_a: Int64
    size_b: Int64
    sum: Int64
    count: Int64  # type: ignore[assignment]
    last: Int64
    key: Int64


class Parts(NamedTuple):
    """Basins on faces: parts of a basin that others may complete, sorted by part, 37 B each."""

    part: Int64
    """Name: block << 32 | basin."""
    sides: UInt8
    """As `residual.Basins.sides`."""
    size: Int64
    """Voxels, up to s_min."""
    key: Int64
    """Best edge to a basin that is on no inner face; 0: none."""
    region: Int64
    target: Int64
    """Region behind ``key``; 0: none."""


class PartPairs(NamedTuple):
    """Best voxel edges between two parts of one block, 24 B each."""

    a: Int64
    b: Int64
    key: Int64


class Crossings(NamedTuple):
    """Contacts between two parts, 41 B each."""

    a: Int64
    b: Int64
    region_a: Int64
    region_b: Int64
    key: Int64
    joined: Mask
    """They are one basin."""


class Links(NamedTuple):
    """Regions that are one object, 16 B each; a negative end is minus a part: its region is meant."""

    u: Int64
    v: Int64


class LargeParts(NamedTuple):
    """Names of parts that look small from another face, and are large; sorted, 8 B each."""

    part: Int64


class FaceTables(NamedTuple):
    """What one face makes of the two blocks that it lies between."""

    contacts: RegionContacts
    links: Links
    parts: Parts
    """Small parts that this face alone can't decide; with them what touches them:"""
    crossings: Crossings
    pairs: PartPairs
    large: Int64
    """Parts that look small from another face, and are large."""


def heads_of(score: UInt32) -> Int64:
    """Rows of names that `Names.up` counts."""
    return np.flatnonzero(score != NO_SCORE)


AnyTable = TypeVar(
    "AnyTable",
    Nodes,
    HalfEdges,
    Names,
    RegionContacts,
    Parts,
    PartPairs,
    Crossings,
    Links,
)


def names_of(block: int, labels: UInt32 | Int64) -> Int64:
    """Names of labels 1.. of a block."""
    return (np.int64(block) << LABEL_BITS) + labels.astype(np.int64)


def blocks_of(names: Int64) -> Int64:
    """The blocks that names are from."""
    return names >> LABEL_BITS


def labels_of(names: Int64) -> Int64:
    """The labels that names have in their blocks."""
    return names & ((1 << LABEL_BITS) - 1)


def take(table: AnyTable, rows: Int64 | Mask | slice) -> AnyTable:
    """Some of its rows."""
    return type(table)._make(column[rows] for column in table)


def stack(tables: Sequence[AnyTable]) -> AnyTable:
    """Tables of one kind, one after the other; at least one. One alone comes back as it is."""
    filled = [table for table in tables if table[0].size] or list(tables[:1])
    if len(filled) == 1:
        return filled[0]
    columns = zip(*filled, strict=True)
    return type(tables[0])._make(np.concatenate(parts) for parts in columns)


def empty(kind: type[AnyTable]) -> AnyTable:
    """Without rows."""
    return kind._make(np.zeros(0, dtype) for dtype in _DTYPES[kind])


_I, _U, _B, _S = np.int64, np.uint32, np.bool_, np.uint8
#: dtype of each column
_DTYPES: dict[type, tuple[type[np.generic], ...]] = {
    Nodes: (_I, _I, _I, _U, _U),
    HalfEdges: (_I, _I, _U, _I, _I, _I, _I, _I),
    Names: (_I, _I, _I, _B, _U, _U, _I, _I, _U, _U, _U),
    RegionContacts: (_I,) * 8,
    Parts: (_I, _S, _I, _I, _I, _I),
    PartPairs: (_I,) * 3,
    Crossings: (_I, _I, _I, _I, _I, _B),
    Links: (_I, _I),
}  # fmt: skip
