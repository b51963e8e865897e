"""The exact method at many thresholds of one box, for little more than the price of one.

Everything up to mean linkage doesn't depend on the threshold, and mean linkage down to a lower one
goes on from where it stopped at a higher one: merges come in one order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.block_regions import (
    BlockRegions,
    link_by_mean,
    link_small,
)
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.residual import UInt8, UInt32
from magneton_tasks.kernels.exact.whole_box import check_box, start_box


def exact_segmentations(
    affinity: UInt8, settings: ExactSettings, thresholds: Sequence[float]
) -> Iterator[tuple[UInt32, int]]:
    """Segment a box as one block, at each threshold.

    Peak: as `block_step.segment_block_exact`, and 4 B a voxel for each result.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x), C-contiguous. **Is written to**: edges across low faces become 0.
    settings
        ``settings.threshold`` isn't read.
    thresholds
        From the highest to the lowest.

    Yields
    ------
    labels
        uint32 (z, y, x), an array of its own: those of `block_step.segment_block_exact`.
    n_labels
        They are 1..n_labels.

    Raises
    ------
    BadDataError, ConfigError
        As `block_step.segment_block_exact`, or if thresholds rise.
    """
    cells, cuts = exact_cuts(affinity, settings, thresholds)
    for label_of, n_labels in cuts:
        yield label_of[cells], n_labels


def exact_cuts(
    affinity: UInt8, settings: ExactSettings, thresholds: Sequence[float]
) -> tuple[UInt32, Iterator[tuple[UInt32, int]]]:
    """As `exact_segmentations`, by cells: no threshold cuts one, so voxels are looked at once.

    Returns
    -------
    cells
        uint32 (z, y, x): the cell of each voxel; 0: background.
    cuts
        For each threshold the label of each cell, uint32 (cells + 1,), and how many labels there
        are.
    """
    if any(a < b for a, b in pairwise(thresholds)):
        raise BadDataError("thresholds rise", "give them from the highest to the lowest")
    check_box(affinity, settings)
    regions = start_box(affinity, settings)
    link_small(regions, settings)
    return regions.labels, _cuts(regions, thresholds)


def _cuts(regions: BlockRegions, thresholds: Sequence[float]) -> Iterator[tuple[UInt32, int]]:
    for threshold in thresholds:
        link_by_mean(regions, least_score(threshold))
        yield regions.region_of.copy(), regions.n
