"""Merges in bins of their scores, as the rule that takes the threshold from the map reads them."""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.map_threshold import (
    EDGE_COUNT,
    EDGE_SUM,
    ENTROPY,
    LEVELS,
    entropy_lost,
)
from magneton_tasks.kernels.exact.residual import UInt32
from magneton_tasks.kernels.exact.rounds.tables import Int64

#: Scores of the levels, ascending.
LEVEL_SCORES = np.array([least_score(level) for level in LEVELS], np.int64)


def bins_of_merges(scores: UInt32, sums: Int64, counts: Int64, a: Int64, b: Int64) -> Int64:
    """`ThresholdSums.bins` of merges of sets of a and b voxels."""
    bins = np.zeros((3, len(LEVELS)), np.int64)
    at = levels_of(scores)
    counted = at >= 0
    rows = at[counted]
    np.add.at(bins[EDGE_SUM], rows, sums[counted])
    np.add.at(bins[EDGE_COUNT], rows, counts[counted])
    np.add.at(bins[ENTROPY], rows, entropy_lost(a[counted], b[counted]))
    return bins


def levels_of(scores: UInt32) -> Int64:
    """The highest level that each score reaches; -1: none."""
    return np.searchsorted(LEVEL_SCORES, scores, side="right") - 1
