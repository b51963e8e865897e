"""Scores and keys of edges as integers, so that no order of sums decides anything."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

#: Fixed-point bits of a score: q(sum, count) = (sum << SCORE_BITS) // count, below 2^32 for uint8.
SCORE_BITS = 24
#: A voxel edge's key is (affinity << KEY_BITS) - position: higher affinity first, then lower position.
KEY_BITS = 54


def least_score(threshold: float) -> int:
    """A threshold in [0, 1] as a fixed-point score: ceil(threshold * 255 * 2^24), exact in decimals."""
    return ceil(Fraction(str(threshold)) * 255 * (1 << SCORE_BITS))


def least_key(affinity: int) -> int:
    """Keys above this have at least this uint8 affinity, and at least 1."""
    return (max(affinity, 1) << KEY_BITS) - (1 << KEY_BITS)
