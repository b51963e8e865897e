"""Settings of the exact method: what decides its segmentation, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

#: Fixed-point bits of a score: q(sum, count) = (sum << SCORE_BITS) // count, below 2^32 for uint8.
SCORE_BITS = 24
#: A voxel edge's key is (affinity << KEY_BITS) - position: higher affinity first, then lower position.
KEY_BITS = 54


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """How the exact method segments.

    Attributes
    ----------
    threshold
        Mean affinity in [0, 1] up to which regions merge.
    s2
        Voxels below which a region merges across its best voxel edge, before mean linkage; 0 or 1: off.
    dust
        Voxels below which a final segment joins the neighbour across its best voxel edge; 0 or 1: off.
    t_low, t_high
        uint8 affinities: a voxel without an edge of ``t_low`` is background; edges of ``t_high`` join at
        once.
    s_min
        Voxels below which a basin joins the one across its best voxel edge; 0 or 1: off.
    t_size
        uint8 affinity below which no small basin, small region or dust joins anything.
    """

    threshold: float
    s2: int = 200
    dust: int = 100
    t_low: int = 1
    t_high: int = 255
    s_min: int = 50
    t_size: int = 1

    @property
    def least_score(self) -> int:
        """The threshold as a fixed-point score: ceil(threshold * 255 * 2^24), exact in decimals."""
        return ceil(Fraction(str(self.threshold)) * 255 * (1 << SCORE_BITS))

    @property
    def least_key(self) -> int:
        """Keys above this have an affinity of at least ``t_size``."""
        return (max(self.t_size, 1) << KEY_BITS) - (1 << KEY_BITS)

    @property
    def size_cap(self) -> int:
        """Sizes of regions matter up to here."""
        return max(self.s2, self.dust, 1)
