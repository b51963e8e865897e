"""How well a segmentation agrees with a truth: VI split and merge, ARAND.

A contingency table counts, for each pair of ids (segmentation, truth) that share a voxel, how many
they share. It is sparse and grows block by block, so the size of the volumes doesn't matter; the
scores come from the counts alone, in sorted order: they don't depend on how the volume was cut.

Voxels where the truth is 0 (not labelled) are left out. Other ids may be named that mean what 0
means, such as the 2^64 - 1 and 2^64 - 3 of CREMI's truth. The segmentation's 0 is an object like any
other: what a segmentation leaves as background is thus scored as one object, as waterz and
funlib.evaluate do.

Sources
-------
VI: M. Meila, "Comparing clusterings: an information based distance", J. Multivariate Anal. 98
(2007), section 3; split and merge as in J. Nunez-Iglesias et al., PLoS ONE 8 (2013).
ARAND: I. Arganda-Carreras et al., Front. Neuroanat. 9 (2015), "Segmentation error metrics":
1 - F score of the Rand precision and recall, as SNEMI3D and CREMI report it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError

#: Rows that may wait to be merged into the table whatever its size (24 bytes each).
_MIN_WAITING_ROWS = 1 << 20

#: (segmentation id, truth id, voxels): columns of equal length, uint64, uint64, int64
Rows = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Scores:
    """Agreement of a segmentation with a truth; 0 is perfect in every score.

    Attributes
    ----------
    vi_split
        H(segmentation | truth) in bits: grows where objects are cut into pieces.
    vi_merge
        H(truth | segmentation) in bits: grows where objects are joined.
    arand
        Adapted Rand error, 1 - F score, in [0, 1].
    voxels
        Voxels scored, those whose truth isn't 0.
    segments, objects
        Distinct ids of the segmentation (0 included) and of the truth among these voxels.
    """

    vi_split: float
    vi_merge: float
    arand: float
    voxels: int
    segments: int
    objects: int

    @property
    def vi(self) -> float:
        """Variation of information in bits, split + merge."""
        return self.vi_split + self.vi_merge


class ContingencyTable:
    """Counts of voxels by (segmentation id, truth id), added up over blocks.

    Memory is proportional to the distinct pairs of ids seen, not to the voxels.

    Parameters
    ----------
    background
        Ids that mean what 0 means; -1 stands for the largest id of an unsigned dtype, and 2^64 - 1
        for -1 in a signed one.
    """

    def __init__(self, background: Sequence[int] = ()) -> None:
        self._background = tuple(background)
        self._table: Rows = _no_rows()
        self._waiting: list[Rows] = []
        self._waiting_rows = 0

    def add(self, segmentation: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count the voxels of a block.

        Parameters
        ----------
        segmentation, truth
            Ids of the same voxels; any shape, the same for both; any integers from 0 to 2^64 - 1,
            negative ones where they are background.

        Raises
        ------
        BadDataError
            The shapes differ, or an array doesn't hold ids.
        """
        if segmentation.shape != truth.shape:
            raise BadDataError(
                f"segmentation has shape {segmentation.shape}, truth {truth.shape}",
                "score the same box of both volumes",
            )
        flat = _flat(segmentation, "segmentation"), _flat(truth, "truth")
        rows = _count_runs(*flat, self._background)
        self._waiting.append(rows)
        self._waiting_rows += rows[0].size
        # Merging costs a sort of the whole table: wait until as much has come as is there.
        if self._waiting_rows > max(_MIN_WAITING_ROWS, self._table[0].size):
            self._merge_waiting()

    def rows(self) -> Rows:
        """One row for each distinct pair, sorted by truth, then segmentation; not to be changed."""
        self._merge_waiting()
        return self._table

    def scores(self) -> Scores:
        """Scores of all blocks added so far.

        Raises
        ------
        BadDataError
            No voxel has a truth.
        """
        return score_rows(self.rows())

    def _merge_waiting(self) -> None:
        if not self._waiting:
            return
        self._table = add_up(*map(np.concatenate, zip(self._table, *self._waiting, strict=True)))
        self._waiting = []
        self._waiting_rows = 0


def evaluate(segmentation: NDArray[np.integer], truth: NDArray[np.integer]) -> Scores:
    """Scores of one array against another, both of the same shape; see `ContingencyTable`."""
    table = ContingencyTable()
    table.add(segmentation, truth)
    return table.scores()


def score_rows(rows: Rows) -> Scores:
    """Scores of a table's rows; raises as `ContingencyTable.scores`."""
    segmentation, truth, n = rows
    if n.size == 0:
        raise BadDataError(
            "no voxel of the truth is labelled (all are 0)",
            "score a box that the truth covers",
        )
    n_segment = _sums_by(segmentation, n)
    n_object = _sums_by(truth, n)
    joint, of_segments, of_objects = _entropy(n), _entropy(n_segment), _entropy(n_object)
    pairs_both, pairs_segment, pairs_object = map(_sum_of_squares, (n, n_segment, n_object))
    return Scores(
        # An entropy of exact agreement may come out as -1e-16.
        vi_split=max(joint - of_objects, 0.0),
        vi_merge=max(joint - of_segments, 0.0),
        arand=1.0 - 2.0 * pairs_both / (pairs_segment + pairs_object),
        voxels=int(n.sum()),
        segments=n_segment.size,
        objects=n_object.size,
    )


def _no_rows() -> Rows:
    return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64)


def _flat(array: NDArray[np.integer], name: str) -> NDArray[np.integer]:
    """The array, flat; ids are compared in its own dtype (a copy to uint64 would cost memory)."""
    if array.dtype.kind not in "biu":
        raise BadDataError(f"{name} has dtype {array.dtype}, not integer ids")
    return array.reshape(-1)


def _as_ids(
    values: NDArray[np.integer], name: str, background: tuple[int, ...]
) -> NDArray[np.uint64]:
    """Ids of runs as uint64, 0 where they are background; ``values`` are changed."""
    for value in background:
        stored = _in_dtype(value, values.dtype)
        if stored is not None:
            values[values == stored] = 0
    if values.dtype.kind == "i" and values.size and values.min() < 0:
        raise BadDataError(
            f"{name} holds negative ids, the smallest is {values.min()}",
            "if they mean background, list them with --ignore-ids",
        )
    return values.astype(np.uint64)


def _in_dtype(value: int, dtype: np.dtype[Any]) -> np.integer | None:
    """An id as a dtype has it: -1 is the largest of unsigned ones, 2^64 - 1 is -1 of signed ones."""
    if dtype.kind == "b":
        return None
    bounds = np.iinfo(dtype)
    if dtype.kind == "u" and value < 0:
        value += int(bounds.max) + 1
    if dtype.kind == "i" and value >= 2**63:
        value -= 2**64
    return dtype.type(value) if bounds.min <= value <= bounds.max else None


def _count_runs(
    segmentation: NDArray[np.integer], truth: NDArray[np.integer], background: tuple[int, ...]
) -> Rows:
    """Rows of a block. Ids come in runs along x: sorting runs, not voxels, is ten times less."""
    if truth.size == 0:
        return _no_rows()
    starts = np.empty(truth.size, bool)
    starts[0] = True
    np.not_equal(truth[1:], truth[:-1], out=starts[1:])
    starts[1:] |= segmentation[1:] != segmentation[:-1]
    first = np.flatnonzero(starts)
    length = np.diff(first, append=truth.size)
    of_truth = _as_ids(truth[first], "truth", background)
    of_segment = _as_ids(segmentation[first], "segmentation", background)
    labelled = of_truth != 0
    return add_up(of_segment[labelled], of_truth[labelled], length[labelled].astype(np.int64))


def add_up(
    segmentation: NDArray[np.uint64], truth: NDArray[np.uint64], n: NDArray[np.int64]
) -> Rows:
    """One row for each distinct pair, sorted by truth, then segmentation."""
    if n.size == 0:
        return _no_rows()
    of_n, of_segment, of_truth = (int(a.max()).bit_length() for a in (n, segmentation, truth))
    if of_n + of_segment + of_truth <= 64:  # all in one number: half the time
        sorted_rows = np.sort(
            (truth << np.uint64(of_segment) | segmentation) << np.uint64(of_n) | n.astype(np.uint64)
        )
        n = (sorted_rows & np.uint64((1 << of_n) - 1)).astype(np.int64)
        both = sorted_rows >> np.uint64(of_n)
        segmentation, truth = both & np.uint64((1 << of_segment) - 1), both >> np.uint64(of_segment)
    else:
        order = np.lexsort((segmentation, truth))
        segmentation, truth, n = segmentation[order], truth[order], n[order]
    new = np.ones(n.size, bool)
    new[1:] = (truth[1:] != truth[:-1]) | (segmentation[1:] != segmentation[:-1])
    first = np.flatnonzero(new)
    return segmentation[first], truth[first], np.add.reduceat(n, first)


def _sums_by(ids: NDArray[np.uint64], n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of ``n`` for each distinct id, in order of the ids."""
    if ids.max() < 8 * ids.size + 4096:  # exact: the sums are below 2^53
        sums = np.bincount(ids.astype(np.intp), weights=n)
        return sums[sums > 0].astype(np.int64)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
    return np.add.reduceat(n[order], first)


def _entropy(n: NDArray[np.int64]) -> float:
    """Entropy in bits of a partition into parts of ``n`` voxels."""
    p = n / n.sum()
    return float(-(p * np.log2(p)).sum())


def _sum_of_squares(n: NDArray[np.int64]) -> float:
    """In floating point: 2^32 voxels squared don't fit an int64."""
    return float(np.square(n.astype(np.float64)).sum())
