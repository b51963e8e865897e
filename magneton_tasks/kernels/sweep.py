"""Many thresholds of one block by one agglomeration.

Regions merge in one order whatever the threshold, which only says when to stop. So a block at
twenty thresholds costs one region graph and the merges up to the lowest threshold; each result is
that of `segment.segment_block` at its threshold.

`score_sweep` doesn't even look at the voxels again. At the highest threshold a contingency table
counts them by (segment, truth); from there on segments only merge::

    threshold   0.9               0.8               0.7
    segments    1  2  3  4  5     1  2  3  4  5     1  2  3  4  5
    merge into  1  2  3  4  5     1  1  3  3  5     1  1  3  3  1
    table       5 x truths        3 x truths        2 x truths

and the rows of merged segments are added up: exact, and as cheap as there are few segments.

`exact_sweep` and `score_exact_sweep` are the same of the exact method, whose dust makes its results
nest no more: there the rows are those of cells, which no threshold cuts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.evaluate import ContingencyTable, Rows, Scores, score_rows
from magneton_tasks.kernels.exact_settings import ExactSettings
from magneton_tasks.kernels.exact_sweep import exact_cuts, exact_segmentations
from magneton_tasks.kernels.residual import UInt8
from magneton_tasks.kernels.segment import (
    Float32,
    Labels,
    Mask,
    SegmentSettings,
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
    descending = _descending(thresholds)
    for threshold, segments in zip(
        descending, segmentations(affinity, settings, descending, mask), strict=True
    ):
        if segments is None:
            yield threshold, Labels(np.zeros(affinity.shape[1:], np.uint32), 0)
        else:
            yield threshold, dense_labels(segments, keep=True)


def score_sweep(
    affinity: Float32,
    settings: SegmentSettings,
    thresholds: Sequence[float],
    truth: NDArray[np.integer],
    mask: Mask | None = None,
) -> list[tuple[float, Scores]]:
    """Scores of one block at many thresholds, each as `evaluate.evaluate` of its segmentation.

    Parameters
    ----------
    affinity, settings, thresholds, mask
        As `sweep`.
    truth
        Ids (z, y, x) of the same voxels; 0 isn't scored.

    Returns
    -------
    list
        (threshold, scores), from the highest threshold to the lowest.

    Raises
    ------
    BadDataError
        As `sweep` and `evaluate.evaluate`.
    """
    descending = _descending(thresholds)
    rows = _no_rows = (np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
    found: list[tuple[float, Scores]] = []
    steps = segmentations(affinity, settings, descending, mask)
    for threshold, segments in zip(descending, steps, strict=True):
        if segments is None:
            segments = np.zeros(affinity.shape[1:], np.uint64)
        flat = segments.reshape(-1)
        if rows is _no_rows:
            rows = _count(segments, truth)
            flat[:] = 0
        else:
            rows = _joined(flat[: rows[0].size], *rows[1:])
        found.append((threshold, score_rows(rows)))
        # What waterz renames for the next threshold need no longer be voxels: the rows' segments
        # do, and there are no more rows than voxels.
        flat[: rows[0].size] = rows[0]
    return found


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
    descending = _descending(thresholds)
    found = exact_segmentations(affinity, settings, descending)
    for threshold, (labels, count) in zip(descending, found, strict=True):
        yield threshold, Labels(labels, count)


def score_exact_sweep(
    affinity: UInt8,
    settings: ExactSettings,
    thresholds: Sequence[float],
    truth: NDArray[np.integer],
) -> list[tuple[float, Scores]]:
    """As `score_sweep`, of the exact method; parameters as `exact_sweep`."""
    descending = _descending(thresholds)
    cells, cuts = exact_cuts(affinity, settings, descending)
    cell, known, n = _count(cells, truth)
    return [
        (threshold, score_rows(_joined(label_of[cell].astype(np.uint64), known, n)))
        for threshold, (label_of, _) in zip(descending, cuts, strict=True)
    ]


def _descending(thresholds: Sequence[float]) -> list[float]:
    """Distinct thresholds from the highest to the lowest."""
    outside = [t for t in thresholds if not 0 <= t <= 1]
    if outside or not thresholds:
        what = f"threshold {outside[0]:g} isn't in [0, 1]" if outside else "there is no threshold"
        raise BadDataError(what, "a threshold is an affinity, from 0 to 1")
    return sorted(set(thresholds), reverse=True)


def _count(segments: NDArray[np.integer], truth: NDArray[np.integer]) -> Rows:
    """The contingency table of all voxels."""
    if segments.shape != truth.shape:
        raise BadDataError(f"segmentation has shape {segments.shape}, truth {truth.shape}")
    table = ContingencyTable()
    step = max(_COUNTED_VOX // (segments[0].size or 1), 1)
    for z in range(0, len(segments), step):
        table.add(segments[z : z + step], truth[z : z + step])
    return table.rows()


def _joined(segments: NDArray[np.uint64], truth: NDArray[np.uint64], n: NDArray[np.int64]) -> Rows:
    """Rows of the same segment and truth added up; rows are sorted by truth, and stay so."""
    if n.size == 0:
        return segments, truth, n
    rows = segments.copy(), truth.copy(), n.copy()
    count = _join(*rows, np.zeros(int(segments.max()) + 1, np.int64))
    return rows[0][:count], rows[1][:count], rows[2][:count]


@njit(cache=True, nogil=True)
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
