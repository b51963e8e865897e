"""The threshold that an affinity map itself asks for: sums in, threshold and warnings out.

Contacts that are left between objects have one mean affinity, B; the inside of objects has another,
W. Both change with the threshold t, as what merges turns from a contact into an inside::

    affinity 0        B(t)      t1         t2            W(t)         1
             |---------|---------|----------|-------------|-----------|
                       0       11/40       1/2            1              share of the way, as angles

1. t1 is the highest t of `LEVELS` that lies 11/40 of the way from B(t) to W(t), or lower; t2
   likewise lies halfway: a cautious cut. The way is measured in angles, arcsin(sqrt(p)), which treat
   .05 to .10 about like .90 to .95.
2. Cuts nest, so a lower one differs from that at t2 by the entropy (of object sizes) that its further
   merges lose. Where t1 differs by more than `MOST_CHANGE_BITS`, the threshold is the lowest above
   it that doesn't.

All that is read are sums, and they add up over boxes, blocks and joins in any order: in each bin of
the score the merges' voxel edges and the entropy they lose, and a few numbers of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels import versions

#: Bump when the same sums make another threshold; guarded by the golden test.
RULE_VERSION = versions.MAP_THRESHOLD
#: The thresholds among which one is chosen, ascending; merges from each to the next are a bin.
LEVELS: tuple[float, ...] = tuple(round(0.02 + 0.005 * k, 3) for k in range(193))
#: Rows of the bins: affinities (0 to 255) and number of the voxel edges merged over; entropy lost,
#: in bits times voxels, `ENTROPY_UNIT` each.
EDGE_SUM, EDGE_COUNT, ENTROPY = range(3)
#: Rounded once a merge: integers add up to the same whatever the order.
ENTROPY_UNIT = 2**-10

#: Shares of the way from B to W: the threshold's own, the cautious cut's, and a lower one's, which
#: tells whether a cliff is near.
_WAY, _HALFWAY, _LOW_WAY = 0.275, 0.5, 0.2
#: How far the segmentation may be from that halfway, in bits of VI.
MOST_CHANGE_BITS = 0.75
#: From the cut at `_LOW_WAY` on, this many bits of VI away, a little less threshold merges a lot.
CLIFF_BITS = 1.0
#: Less between B and W is hardly a contrast.
LEAST_CONTRAST = 0.3
#: Fewer voxel edges between regions than this say nothing; then the threshold is this.
LEAST_CONTACTS = 10_000
FEW_CONTACTS_THRESHOLD = 0.5

Int64 = NDArray[np.int64]
Warned = Literal["few contacts", "poor contrast", "stopped early", "cliff below"]


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdSums:
    """What the rule reads; sums of parts are added with ``+``.

    Attributes
    ----------
    bins
        int64 (3, len(LEVELS)): rows as above, of merges whose score lies in each bin.
    pair_sum, pair_count
        Affinities (0 to 255) and number of all voxel edges between two labelled voxels.
    contact_sum, contact_count
        Those between two regions, before any merged by mean affinity.
    voxels
        Labelled ones.
    """

    bins: Int64
    pair_sum: int
    pair_count: int
    contact_sum: int
    contact_count: int
    voxels: int

    def __add__(self, other: ThresholdSums) -> ThresholdSums:
        return ThresholdSums(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )

    @classmethod
    def nothing(cls) -> ThresholdSums:
        return cls(np.zeros((3, len(LEVELS)), np.int64), 0, 0, 0, 0, 0)

    def to_data(self) -> list[Any]:
        """As JSON holds it."""
        bins, *numbers = (getattr(self, f.name) for f in fields(self))
        return [bins.tolist(), *numbers]

    @classmethod
    def from_data(cls, data: list[Any]) -> ThresholdSums:
        """Back from `to_data`."""
        return cls(np.array(data[0], np.int64), *data[1:])


@dataclass(frozen=True, slots=True)
class MapThreshold:
    """What the rule chose.

    Attributes
    ----------
    value
        The threshold, in [0, 1].
    between, inside
        B and W at the threshold, in [0, 1].
    change_bits
        VI between the segmentation and that halfway.
    cliff_bits, low
        VI to the segmentation at a lower threshold, ``low``, two tenths of the way.
    warned
        What is doubtful.
    """

    value: float
    between: float
    inside: float
    change_bits: float
    cliff_bits: float
    low: float
    warned: tuple[Warned, ...]


def choose(sums: ThresholdSums) -> MapThreshold:
    """Apply the rule."""
    merged = np.cumsum(sums.bins[:, ::-1], axis=1)[
        :, ::-1
    ]  # at each level: by merges at or above it
    between = _mean(sums.contact_sum - merged[EDGE_SUM], sums.contact_count - merged[EDGE_COUNT])
    inside_sum, inside_count = (
        sums.pair_sum - sums.contact_sum,
        sums.pair_count - sums.contact_count,
    )
    inside = _mean(inside_sum + merged[EDGE_SUM], inside_count + merged[EDGE_COUNT])
    lost_bits = merged[ENTROPY] * ENTROPY_UNIT / max(sums.voxels, 1)
    first, half, low = (_highest(between, inside, way) for way in (_WAY, _HALFWAY, _LOW_WAY))
    at = first
    while at < half and lost_bits[at] - lost_bits[half] > MOST_CHANGE_BITS:
        at += 1
    cliff_bits = float(max(lost_bits[low] - lost_bits[at], 0.0))
    warned: list[Warned] = []
    if sums.contact_count < LEAST_CONTACTS:
        warned.append("few contacts")
    if inside[at] - between[at] < LEAST_CONTRAST:
        warned.append("poor contrast")
    if at > first:
        warned.append("stopped early")
    if cliff_bits > CLIFF_BITS:
        warned.append("cliff below")
    return MapThreshold(
        FEW_CONTACTS_THRESHOLD if "few contacts" in warned else LEVELS[at],
        float(between[at]),
        float(inside[at]),
        float(lost_bits[at] - lost_bits[half]),
        cliff_bits,
        LEVELS[low],
        tuple(warned[:1] if "few contacts" in warned else warned),
    )


def _highest(between: NDArray[np.float64], inside: NDArray[np.float64], way: float) -> int:
    """Index of the highest level that lies at most this share of the way; the lowest if none does."""
    fits = _angle(np.array(LEVELS)) <= (1 - way) * _angle(between) + way * _angle(inside)
    found = np.flatnonzero(fits)
    return int(found[-1]) if found.size else 0


def _mean(sum_: Int64, count: Int64) -> NDArray[np.float64]:
    """Mean affinity in [0, 1]; 0 of nothing."""
    return np.asarray(sum_ / np.maximum(count, 1) / 255)


def _angle(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arcsin(np.sqrt(np.clip(share, 0, 1)))


def entropy_lost(a: Int64, b: Int64) -> Int64:
    """What merging objects of a and b voxels loses, in units of `ENTROPY_UNIT` bits times voxels."""
    bits = _bits(a + b) - _bits(a) - _bits(b)
    lost: Int64 = np.rint(bits / ENTROPY_UNIT).astype(np.int64)
    return lost


def _bits(n: Any) -> Any:
    return n * np.log2(np.maximum(n, 1))
