"""The rule's sums over parts of a volume at fixed places, so that the thresholds of these can be compared.

The volume alone decides where the parts lie; a block belongs to the part that its middle is in::

    +---------+---------+     up to three parts along each axis, none narrower than `LEAST_EDGE_VOX`
    |  0  : 1 |  : 2    |     blocks (|) of a part make its place
    |.....:...|..:......|     parts (:)
    |  3  : 4 |  : 5    |

What a block adds up is its part's. What merges in a round is the part's that the smaller side is from, by
its largest member: groups and memory move a merge between two parts now and then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.map_threshold import LEVELS, ThresholdSums
from magneton_tasks.kernels.exact.residual import UInt8, UInt32
from magneton_tasks.kernels.exact.rounds.bins import bins_of_merges
from magneton_tasks.kernels.exact.rounds.look_up import is_among
from magneton_tasks.kernels.exact.rounds.records import Forest
from magneton_tasks.kernels.exact.rounds.tables import Int64, RegionContacts, blocks_of

#: Below about 100 voxels along each axis one cell decides what the rule says.
LEAST_EDGE_VOX = 128
MOST_ALONG_AXIS = 3

_BINS = 3 * len(LEVELS)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The parts of a volume.

    Attributes
    ----------
    along
        How many there are along each axis.
    rows
        Of each axis: the part along it that each row of blocks lies in.
    """

    along: Vec3
    rows: tuple[UInt8, UInt8, UInt8]

    @classmethod
    def of(cls, grid: Grid) -> Places:
        """Of a volume and its blocks."""
        shape = grid.box.shape
        along = vec3(min(max(s // LEAST_EDGE_VOX, 1), MOST_ALONG_AXIS) for s in shape)
        z, y, x = (
            np.array([(a + b - 2 * cuts[0]) * n // (2 * s) for a, b in pairwise(cuts)], np.uint8)
            for cuts, n, s in zip(grid.cuts, along, shape, strict=True)
        )
        return cls(along, (z, y, x))

    @property
    def count(self) -> int:
        return prod(self.along)

    def of_blocks(self, blocks: Int64) -> UInt8:
        """The parts of blocks by their numbers."""
        if self.count == 1:
            return np.zeros(blocks.size, np.uint8)
        total = prod(rows.size for rows in self.rows)
        if blocks.size > total:
            return self.of_blocks(np.arange(total))[blocks]
        index = np.unravel_index(blocks, [rows.size for rows in self.rows])
        z, y, x = (rows[i] for rows, i in zip(self.rows, index, strict=True))
        found: UInt8 = (z * np.uint8(self.along[1]) + y) * np.uint8(self.along[2]) + x
        return found

    def box_of(self, part: int, grid: Grid) -> Box | None:
        """What the blocks of a part fill; None: it has none."""
        begin, end = [], []
        of_axis = np.unravel_index(part, self.along)
        for rows, wanted, cuts in zip(self.rows, of_axis, grid.cuts, strict=True):
            own = np.flatnonzero(rows == wanted)
            if not own.size:
                return None
            begin.append(cuts[own[0]])
            end.append(cuts[own[-1] + 1])
        return Box(vec3(begin), vec3(end))


#: Of a volume that isn't compared.
ONE = Places((1, 1, 1), (np.zeros(0, np.uint8),) * 3)


class PlaceRows(NamedTuple):
    """What a task adds to the sums of the parts, where that isn't 0; 16 B each."""

    place: Int64
    """In (parts, bins of `ThresholdSums`, and sum and number of the voxel edges between regions)."""
    value: Int64


class Scored(NamedTuple):
    """Merges by mean affinity of one task, in their order."""

    gone: UInt32
    kept: UInt32
    scores: UInt32
    sums: Int64
    counts: Int64


def rows_of_round(
    places: Places,
    part: UInt8,
    sizes: Int64,
    united: UInt32,
    scored: Scored,
    forest: Forest,
    contacts: Int64,
) -> PlaceRows:
    """Of a task of a round.

    Parameters
    ----------
    part, sizes
        uint8, int64 (n + 1,): the part that each region is in, and its voxels.
    united
        Roots of the sets that were made without a score.
    forest
        What became of the own regions: tells the sizes.
    contacts
        int64 (parts, 2): what the sum and number of the voxel edges between regions change by.
    """
    if places.count == 1:
        return PlaceRows(np.zeros(0, np.int64), np.zeros(0, np.int64))
    scored_only = slice(forest.unscored, None)
    sides = forest.sizes_gone[scored_only], forest.sizes_kept[scored_only]
    parts = _smaller_sides(united, part.copy(), sizes, scored.gone, scored.kept, *sides)
    table = np.zeros((places.count, _BINS + 2), np.int64)
    for own in np.unique(parts):
        rows = parts == own
        columns = (column[rows] for column in (*scored[2:], *sides))
        table[own, :_BINS] = bins_of_merges(*columns).reshape(-1)
    table[:, _BINS:] = contacts
    flat = table.reshape(-1)
    found = np.flatnonzero(flat)
    return PlaceRows(found, flat[found])


@njit(nogil=True)
def _smaller_sides(
    united: UInt32,
    part: UInt8,
    sizes: Int64,
    gone: UInt32,
    kept: UInt32,
    size_gone: Int64,
    size_kept: Int64,
) -> UInt8:
    """The smaller side's part at each merge; ``part`` is written to: of sets, that of their largest."""
    largest = np.zeros(united.size, np.int64)
    of_set = part.copy()
    for i in range(1, united.size):
        if sizes[i] > largest[united[i]]:
            largest[united[i]] = sizes[i]
            of_set[united[i]] = part[i]
    found = np.empty(gone.size, np.uint8)
    for k in range(gone.size):
        a, b = gone[k], kept[k]
        found[k] = of_set[a] if size_gone[k] < size_kept[k] else of_set[b]
        if largest[a] > largest[b]:
            largest[b] = largest[a]
            of_set[b] = of_set[a]
    return found


def moved_contacts(places: Places, contacts: RegionContacts, numbers: Int64) -> Int64:
    """int64 (parts, 2): what of the sum and number of the voxel edges over faces lies elsewhere.

    A face is counted with its lower block; a contact belongs where its smaller side is.

    Parameters
    ----------
    numbers
        int64, sorted: the task's blocks. Faces to others are read on both sides, and told by one.
    """
    moved = np.zeros((places.count, 2), np.int64)
    if places.count == 1:
        return moved
    blocks = blocks_of(contacts.a), blocks_of(contacts.b)
    counted, other = (places.of_blocks(side) for side in blocks)
    smaller = (
        is_among(numbers, blocks[0]) & (contacts.size_b < contacts.size_a) & (counted != other)
    )
    for column, values in enumerate((contacts.sum, contacts.count)):
        np.subtract.at(moved[:, column], counted[smaller], values[smaller])
        np.add.at(moved[:, column], other[smaller], values[smaller])
    return moved


def place_of_nodes(places: Places, name: Int64, ghosts: int) -> UInt8:
    """uint8 (n + 1,): the part of each own region; 0 of none and of ghosts."""
    own = places.of_blocks(blocks_of(name))
    found: UInt8 = np.concatenate([np.zeros(1, np.uint8), own, np.zeros(ghosts, np.uint8)])
    return found


class PartSums:
    """Adds up, over each part, what blocks and rounds leave."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._bins = np.zeros((places.count, _BINS + 2), np.int64)
        self._blocks = [ThresholdSums.nothing()] * places.count

    def add_block(self, block: int, sums: ThresholdSums) -> None:
        """What a block adds, or a face that is kept with it."""
        (part,) = self._places.of_blocks(np.array([block]))
        self._blocks[part] += sums

    def add_rows(self, rows: PlaceRows) -> None:
        """What a task of a round adds."""
        self._bins.reshape(-1)[rows.place] += rows.value

    def sums(self) -> list[ThresholdSums]:
        """Of each part."""
        return [
            replace(
                own,
                bins=own.bins + added[:_BINS].reshape(own.bins.shape),
                contact_sum=own.contact_sum + int(added[_BINS]),
                contact_count=own.contact_count + int(added[_BINS + 1]),
            )
            for own, added in zip(self._blocks, self._bins, strict=True)
        ]
