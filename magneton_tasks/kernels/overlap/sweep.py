"""Many thresholds of one block by one agglomeration.

Regions merge in one order whatever the threshold, which only says when to stop. So a block at
twenty thresholds costs one region graph and the merges up to the lowest threshold; each result is
that of `segment.segment_block` at its threshold.

`exact_sweep` is the same of the exact method. `score_exact_sweep` doesn't even look at the voxels
again: the contingency table counts them by (cell, truth), and no threshold cuts a cell; the rows of
cells that make one object are added up: exact, and as cheap as there are few cells. `grid_sweep`
does so with the overlap method, whose objects are matched over blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.methods import ExactSettings, SegmentSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.evaluate import ContingencyTable, Rows, Scores, score_rows
from magneton_tasks.kernels.exact.exact_sweep import exact_cuts, exact_segmentations
from magneton_tasks.kernels.exact.residual import UInt8
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.segment import (
    Float32,
    Labels,
    Mask,
    dense_labels,
    segmentations,
)

#: Voxels that are counted at a time: what counting takes besides (some 30 B each) stays small.
_COUNTED_VOX = 1 << 22


def sweep(
    affinity: Float32,
    settings: SegmentSettings,
    thresholds: Sequence[float],
    mask: Mask | None = None,
) -> Iterator[tuple[float, Labels]]:
    """Segment one block at many thresholds.

    Parameters
    ----------
    affinity, settings, mask
        As `segment.segment_block`; ``settings.threshold`` isn't read. **With a mask, the
        affinities are written to.**
    thresholds
        Affinities in [0, 1], in any order; one that stands twice counts once.

    Yields
    ------
    (threshold, Labels), from the highest threshold to the lowest. The labels are those of
    `segment.segment_block`, in an array of their own.

    Raises
    ------
    BadDataError
        As `segment.segment_block`, or no threshold, or one outside [0, 1].
    """
    descending = descending_thresholds(thresholds)
    for threshold, segments in zip(
        descending, segmentations(affinity, settings, descending, mask), strict=True
    ):
        if segments is None:
            yield threshold, Labels(np.zeros(affinity.shape[1:], np.uint32), 0)
        else:
            yield threshold, dense_labels(segments, keep=True)


def exact_sweep(
    affinity: UInt8, settings: ExactSettings, thresholds: Sequence[float]
) -> Iterator[tuple[float, Labels]]:
    """Segment a box by the exact method at many thresholds.

    Parameters
    ----------
    affinity, settings
        As `exact_sweep.exact_segmentations`: **affinities are written to**.
    thresholds
        As `sweep`.

    Yields
    ------
    (threshold, Labels), from the highest threshold to the lowest.

    Raises
    ------
    BadDataError
        As `sweep`, or as `block_step.segment_block_exact`.
    """
    descending = descending_thresholds(thresholds)
    found = exact_segmentations(affinity, settings, descending)
    for threshold, (labels, count) in zip(descending, found, strict=True):
        yield threshold, Labels(labels, count)


def score_exact_sweep(
    affinity: UInt8,
    settings: ExactSettings,
    thresholds: Sequence[float],
    truth: NDArray[np.integer],
    min_size_vox: int = 0,
) -> list[tuple[float, Scores]]:
    """Scores of a box at many thresholds, each as `evaluate.evaluate` of its segmentation.

    Parameters
    ----------
    affinity, settings, thresholds
        As `exact_sweep`.
    truth
        Ids (z, y, x) of the same voxels; 0 isn't scored.
    min_size_vox
        Smaller objects are background, as in a run.

    Returns
    -------
    list
        (threshold, scores), from the highest threshold to the lowest.

    Raises
    ------
    BadDataError
        As `exact_sweep` and `evaluate.evaluate`.
    """
    descending = descending_thresholds(thresholds)
    cells, cuts = exact_cuts(affinity, settings, descending)
    cell, known, n = counted(cells, truth)
    sizes = np.zeros(0, np.uint32)
    found = []
    for threshold, (label_of, n_labels) in zip(descending, cuts, strict=True):
        ids = label_of.astype(np.uint64)
        if min_size_vox > 0:
            if not sizes.size:
                whole = (slice(None), slice(None), slice(None))
                sizes = label_sizes(cells, whole, label_of.size - 1).read
            of_label = np.bincount(label_of[1:], weights=sizes, minlength=n_labels + 1)
            ids[of_label[label_of] < min_size_vox] = 0
        found.append((threshold, score_rows(joined_rows(ids[cell], known, n))))
    return found


def descending_thresholds(thresholds: Sequence[float]) -> list[float]:
    """Distinct thresholds from the highest to the lowest."""
    outside = [t for t in thresholds if not 0 <= t <= 1]
    if outside or not thresholds:
        what = f"threshold {outside[0]:g} isn't in [0, 1]" if outside else "there is no threshold"
        raise BadDataError(what, "a threshold is an affinity, from 0 to 1")
    return sorted(set(thresholds), reverse=True)


def counted(segments: NDArray[np.integer], truth: NDArray[np.integer]) -> Rows:
    """The contingency table of all voxels."""
    if segments.shape != truth.shape:
        raise BadDataError(f"segmentation has shape {segments.shape}, truth {truth.shape}")
    table = ContingencyTable()
    step = max(_COUNTED_VOX // (segments[0].size or 1), 1)
    for z in range(0, len(segments), step):
        table.add(segments[z : z + step], truth[z : z + step])
    return table.rows()


def joined_rows(
    segments: NDArray[np.uint64], truth: NDArray[np.uint64], n: NDArray[np.int64]
) -> Rows:
    """Rows of the same segment and truth added up; rows are sorted by truth, and stay so."""
    if n.size == 0:
        return segments, truth, n
    rows = segments.copy(), truth.copy(), n.copy()
    count = _join(*rows, np.zeros(int(segments.max()) + 1, np.int64))
    return rows[0][:count], rows[1][:count], rows[2][:count]


@njit(nogil=True)
def _join(
    segments: NDArray[np.uint64],
    truth: NDArray[np.uint64],
    n: NDArray[np.int64],
    row_of: NDArray[np.int64],
) -> int:
    """Join rows in place; returns how many are left. ``row_of``: zeros, one for each segment id."""
    count = 0
    begin = 0  # first row of this truth
    for i in range(segments.size):
        if i > 0 and truth[i] != truth[count - 1]:
            begin = count
        segment = segments[i]
        row = row_of[segment]  # counts from 1; one of an earlier truth is at most `begin`
        if row > begin:
            n[row - 1] += n[i]
        else:
            segments[count], truth[count], n[count] = segment, truth[i], n[i]
            count += 1
            row_of[segment] = count
    return count
