"""From the affinities of a box to the sums that `map_threshold` reads.

The box is segmented as one block that nothing lies around, down to the lowest threshold there is;
what it adds to the curve of a volume holds the sums.
"""

from __future__ import annotations

from dataclasses import replace

from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.map_threshold import LEVELS, ThresholdSums
from magneton_tasks.kernels.exact.residual import UInt8
from magneton_tasks.kernels.exact.rounds.block import segment_supervoxels
from magneton_tasks.kernels.exact.whole_box import alone, check_box


def threshold_sums(affinity: UInt8, settings: ExactSettings) -> ThresholdSums:
    """Of a box, uint8 (3, z, y, x), C-contiguous. **Is written to**: edges across low faces become 0.

    Peak: as `rounds.block.segment_supervoxels`.

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
    lowest = replace(settings, threshold=LEVELS[0])
    return segment_supervoxels(affinity, *alone(vec3(affinity.shape[1:])), lowest).curve.rule
