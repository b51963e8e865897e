"""The rule, applied to parts of a volume: do they ask for the same threshold?

Two calibrations in one map, or a dark, grainy outside, make a threshold of the whole that fits no part
of it. Only parts that hold much are compared: objects that leave a part take contacts along.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.exact.map_threshold import (
    LEAST_CONTRAST,
    ThresholdSums,
    choose,
)

#: Voxel edges between regions that a part must have.
LEAST_CONTACTS = 50_000
#: Thresholds differ from here on, as angles arcsin(sqrt(t)). Measured between parts of 128^3: at most 0.26
#: of mirrored mouse cortex and fly brain, 0.12 of the sample, as they are; with half of the volume dark
#: noise, raised or washed 0.34 to 0.71 (`docs/evidence.md`).
MOST_APART = 0.3


class PartThreshold(NamedTuple):
    """What a part asks for, and whether insides of its objects differ from contacts."""

    part: int
    value: float
    has_contrast: bool


def of_parts(parts: Sequence[ThresholdSums]) -> list[PartThreshold]:
    """What the rule says of each part that holds enough; none where fewer than two do."""
    found = []
    for part, sums in enumerate(parts):
        if sums.contact_count < LEAST_CONTACTS:
            continue
        chosen = choose(sums)
        contrast = chosen.inside - chosen.between
        found.append(PartThreshold(part, chosen.value, contrast >= LEAST_CONTRAST))
    return found if len(found) > 1 else []


def differ(values: Sequence[float]) -> bool:
    """Whether thresholds lie further apart than those of one map do."""
    angles = np.arcsin(np.sqrt(np.array(values)))
    return bool(angles.size) and float(np.ptp(angles)) > MOST_APART
