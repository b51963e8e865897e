"""From the affinities of a box to the sums that `map_threshold` reads.

The box is segmented as one block that nothing lies around, down to the lowest threshold there is;
each merge by mean affinity is recorded and falls into the bin of its score.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.block_regions import (
    BlockRegions,
    link_by_mean,
    link_small,
)
from magneton_tasks.kernels.exact.fixed_point import least_score
from magneton_tasks.kernels.exact.map_threshold import (
    EDGE_COUNT,
    EDGE_SUM,
    ENTROPY,
    LEVELS,
    Int64,
    ThresholdSums,
    entropy_lost,
)
from magneton_tasks.kernels.exact.mean_linkage import MergeRecords
from magneton_tasks.kernels.exact.residual import UInt8, UInt32
from magneton_tasks.kernels.exact.whole_box import check_box, start_box


def threshold_sums(affinity: UInt8, settings: ExactSettings) -> ThresholdSums:
    """Of a box, uint8 (3, z, y, x), C-contiguous. **Is written to**: edges across low faces become 0.

    Peak: as `block_step.segment_block_exact`.

    Parameters
    ----------
    settings
        ``threshold`` isn't read.

    Raises
    ------
    BadDataError, ConfigError
        As `block_step.segment_block_exact`.
    """
    check_box(affinity, settings)
    if not affinity.any():
        return ThresholdSums.nothing()
    regions = start_box(affinity, settings)
    pair_sum, pair_count = labelled_pairs(affinity, regions.labels)
    link_small(regions, settings)
    edges = regions.edges
    contact_sum, contact_count = int(edges.sum.sum()), int(edges.count.sum())
    voxels = int(regions.sizes[1:].sum())
    bins = _bins(regions, settings)
    return ThresholdSums(bins, pair_sum, pair_count, contact_sum, contact_count, voxels)


def _bins(regions: BlockRegions, settings: ExactSettings) -> Int64:
    """Merge down to the lowest level, and sort the merges by their scores."""
    scores = np.array([least_score(level) for level in LEVELS])
    sizes = regions.sizes.copy()
    records = MergeRecords.room(regions.n)
    merges = link_by_mean(regions, int(scores[0]), records)
    at = np.searchsorted(scores, records.scores[:merges], side="right") - 1
    a, b = _sizes_at_merges(records.gone[:merges], records.kept[:merges], sizes)
    bins = np.zeros((3, len(LEVELS)), np.int64)
    np.add.at(bins[EDGE_SUM], at, records.sums[:merges])
    np.add.at(bins[EDGE_COUNT], at, records.counts[:merges])
    np.add.at(bins[ENTROPY], at, entropy_lost(a, b))
    return bins


@njit(nogil=True)
def _sizes_at_merges(gone: UInt32, kept: UInt32, sizes: Int64) -> tuple[Int64, Int64]:
    """Voxels of both sides of each merge; ``sizes`` (n + 1,) are those before, and **written to**."""
    a = np.empty(gone.size, np.int64)
    b = np.empty(gone.size, np.int64)
    for i in range(gone.size):
        a[i] = sizes[gone[i]]
        b[i] = sizes[kept[i]]
        sizes[kept[i]] += sizes[gone[i]]
    return a, b


def labelled_pairs(affinity: UInt8, labels: UInt32) -> tuple[int, int]:
    """Sum of the affinities and number of the voxel edges between two voxels that have a label."""
    total, count = _labelled_pairs(affinity, labels)
    return int(total), int(count)


@njit(nogil=True)
def _labelled_pairs(affinity: UInt8, labels: UInt32) -> tuple[int, int]:
    nz, ny, nx = labels.shape
    total = 0
    count = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = labels[z, y, x] != 0
                if z > 0:
                    both = here & (labels[z - 1, y, x] != 0)
                    total += both * np.int64(affinity[0, z, y, x])
                    count += both
                if y > 0:
                    both = here & (labels[z, y - 1, x] != 0)
                    total += both * np.int64(affinity[1, z, y, x])
                    count += both
                if x > 0:
                    both = here & (labels[z, y, x - 1] != 0)
                    total += both * np.int64(affinity[2, z, y, x])
                    count += both
    return total, count
