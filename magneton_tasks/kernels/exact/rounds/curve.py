"""What blocks, faces and rounds add up about all thresholds at once.

Sums over objects at a threshold t follow from the merges alone, each of which is in one task::

    sum of g(size) = sum over supervoxels + sum over merges at t or above of g(a + b) - g(a) - g(b)

for any g; what stands here is in bins of the score, so that adding up bins from above gives the sum
at each of `map_threshold.LEVELS`. An object at t ends in exactly one task, so the largest of all are
among the largest of each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.map_threshold import (
    LEVELS,
    ThresholdSums,
)
from magneton_tasks.kernels.exact.residual import UInt32
from magneton_tasks.kernels.exact.rounds.bins import LEVEL_SCORES, bins_of_merges, levels_of
from magneton_tasks.kernels.exact.rounds.tables import Int64, Mask

#: Size classes: class k holds sizes from 2^k to 2^(k + 1) - 1.
SIZE_CLASSES = 48
#: Objects that are listed at each level.
LISTED = 10


class Largest(NamedTuple):
    """The largest objects at each level, (levels, `LISTED`) each, largest first; 0: none."""

    voxels: Int64
    ids: Int64

    @classmethod
    def nothing(cls) -> Largest:
        return cls(*(np.zeros((len(LEVELS), LISTED), np.int64) for _ in range(2)))

    def with_those_of(self, other: Largest) -> Largest:
        """The largest of both; of equals those with the smaller ids."""
        both = Largest.nothing()
        _merge_lists(*self, *other, *both)
        return both


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Sums of some tasks; those of others are added with ``+``.

    Attributes
    ----------
    rule
        What the threshold from the map is chosen by.
    classes
        int64 (levels + 1, `SIZE_CLASSES`): change of the number of objects of each size class by
        the merges of each bin; the last row: by supervoxels, and by merges without a score.
    largest
        At each level.
    """

    rule: ThresholdSums
    classes: Int64
    largest: Largest

    @classmethod
    def nothing(cls) -> Curve:
        classes = np.zeros((len(LEVELS) + 1, SIZE_CLASSES), np.int64)
        return cls(ThresholdSums.nothing(), classes, Largest.nothing())

    def __add__(self, other: Curve) -> Curve:
        return Curve(
            self.rule + other.rule,
            self.classes + other.classes,
            self.largest.with_those_of(other.largest),
        )

    def size_classes(self) -> Int64:
        """int64 (levels, `SIZE_CLASSES`): objects of each class at each level."""
        found: Int64 = np.cumsum(self.classes[::-1], axis=0)[:0:-1]
        return found

    def objects(self) -> Int64:
        """int64 (levels,): objects at each level."""
        found: Int64 = self.size_classes().sum(axis=1)
        return found


@njit(nogil=True)
def _merge_lists(
    voxels_a: Int64, ids_a: Int64, voxels_b: Int64, ids_b: Int64, voxels: Int64, ids: Int64
) -> None:
    """Fill lists of the largest of two; all fall."""
    levels, room = voxels.shape
    for level in range(levels):
        i = 0
        for k in range(room):
            a, b = voxels_a[level, i], voxels_b[level, k - i]
            if a > b or (a == b and ids_a[level, i] <= ids_b[level, k - i]):
                voxels[level, k], ids[level, k] = a, ids_a[level, i]
                i += 1
            else:
                voxels[level, k], ids[level, k] = b, ids_b[level, k - i]


class Merged(NamedTuple):
    """Merges of one task, those without a score first."""

    sizes_gone: Int64
    sizes_kept: Int64
    unscored: int
    scores: UInt32
    """Of the others, as `MergeRecords`."""
    sums: Int64
    counts: Int64


def sums_of_merges(merged: Merged) -> Curve:
    """What merges change; without the largest objects."""
    curve = Curve.nothing()
    a, b = merged.sizes_gone, merged.sizes_kept
    scored = slice(merged.unscored, None)
    bins = bins_of_merges(merged.scores, merged.sums, merged.counts, a[scored], b[scored])
    unscored = np.full(merged.unscored, len(LEVELS))
    _change(curve.classes, np.append(unscored, levels_of(merged.scores)), a, b)
    return replace(curve, rule=replace(curve.rule, bins=bins))


def sums_of_supervoxels(sizes: Int64, pairs: tuple[int, int], contacts: tuple[int, int]) -> Curve:
    """What a block begins with.

    Parameters
    ----------
    sizes
        Voxels of its supervoxels.
    pairs, contacts
        Sum and number of the voxel edges between two labelled voxels, and of those between two
        supervoxels.
    """
    curve = Curve.nothing()
    _count(curve.classes[-1], sizes)
    rule = replace(
        curve.rule,
        pair_sum=pairs[0],
        pair_count=pairs[1],
        contact_sum=contacts[0],
        contact_count=contacts[1],
        voxels=int(sizes.sum()),
    )
    return replace(curve, rule=rule)


def sums_of_contacts(pairs: tuple[int, int], contacts: tuple[int, int]) -> Curve:
    """Of a face, where all pairs are contacts; or what unions without a score take from contacts."""
    return sums_of_supervoxels(np.zeros(0, np.int64), pairs, contacts)


@njit(nogil=True)
def _count(classes: Int64, sizes: Int64) -> None:
    """Add objects to their classes."""
    for size in sizes:
        classes[_size_class(size)] += 1


@njit(nogil=True)
def _change(classes: Int64, rows: Int64, a: Int64, b: Int64) -> None:
    """Objects of a and of b voxels become one; rows below 0 aren't counted."""
    for k in range(rows.size):
        if rows[k] >= 0:
            classes[rows[k], _size_class(a[k])] -= 1
            classes[rows[k], _size_class(b[k])] -= 1
            classes[rows[k], _size_class(a[k] + b[k])] += 1


@njit(nogil=True)
def _size_class(voxels: int) -> int:
    found = 0
    for bits in (32, 16, 8, 4, 2, 1):
        if voxels >> bits > 0:
            voxels >>= bits
            found += bits
    return found


def largest_ending(
    up: UInt32,
    score: UInt32,
    sizes: Int64,
    own_low: UInt32,
    goes_on_up_to: Int64,
    ids: Int64,
) -> Largest:
    """The largest objects that end in a task, at each level.

    Parameters
    ----------
    up, score
        (n,): the task's forest, see `records`; ``up`` is the own row where there.s none.
    sizes, own_low, ids
        (n,): each row by itself: voxels, lowest score inside, and name.
    goes_on_up_to
        int64 (n,): the score up to which the set of each row is whole, and goes on to another
        task; -1: it ends here.
    """
    found = Largest.nothing()
    merged = np.flatnonzero(up != np.arange(up.size))
    order = merged[np.argsort(-score[merged].astype(np.int64), kind="stable")]
    row, voxels, low, high = _objects(up, score, order, sizes.copy(), own_low, goes_on_up_to)
    begin = np.searchsorted(LEVEL_SCORES, low, "right")
    end = np.searchsorted(LEVEL_SCORES, high, "right")
    names = ids[row]
    falling = np.lexsort((names, -voxels))
    _list(falling, begin, end, voxels, names, found.voxels, found.ids)
    return found


@njit(nogil=True)
def _objects(
    up: UInt32, score: UInt32, order: Int64, size: Int64, own_low: UInt32, goes_on_up_to: Int64
) -> tuple[Int64, Int64, Int64, Int64]:
    """All objects that there are at some threshold: (head, voxels, above which score, up to which).

    ``order`` has the merged rows by falling scores; ``size`` is written to.
    """
    most = up.size + order.size
    head, voxels = np.empty(most, np.int64), np.empty(most, np.int64)
    low, high = np.empty(most, np.int64), np.empty(most, np.int64)
    made_at = own_low.astype(np.int64)
    gone = np.zeros(up.size, np.bool_)
    count = 0
    for child in order:
        merge_score = np.int64(score[child])
        top = np.int64(up[child])
        while gone[top]:  # of equal scores, in the other order
            top = np.int64(up[top])
        for row in (child, top):
            if made_at[row] > merge_score:
                head[count], voxels[count] = row, size[row]
                low[count], high[count] = merge_score, made_at[row]
                count += 1
        gone[child] = True
        size[top] += size[child]
        made_at[top] = min(made_at[top], merge_score)
    for row in range(up.size):
        if not gone[row] and made_at[row] > goes_on_up_to[row]:
            head[count], voxels[count] = row, size[row]
            low[count], high[count] = goes_on_up_to[row], made_at[row]
            count += 1
    return head[:count], voxels[:count], low[:count], high[:count]


@njit(nogil=True)
def _list(
    order: Int64,
    begin: Int64,
    end: Int64,
    voxels: Int64,
    ids: Int64,
    listed: Int64,
    listed_ids: Int64,
) -> None:
    """Fill each level's list, until all are full; ``order`` has the largest first."""
    levels, room = listed.shape
    counts = np.zeros(levels, np.int64)
    full = 0
    for k in order:
        for level in range(begin[k], end[k]):
            if counts[level] < room:
                listed[level, counts[level]] = voxels[k]
                listed_ids[level, counts[level]] = ids[k]
                counts[level] += 1
                full += counts[level] == room
        if full == levels:
            break


def ends_here(open_: Mask, low: UInt32) -> Int64:
    """`largest_ending`'s ``goes_on_up_to``: of rows whose set is open, and its lowest score."""
    return np.where(open_, low.astype(np.int64), -1)
