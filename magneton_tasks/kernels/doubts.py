"""What looks wrong about an affinity map as it is read: doubts, for which plan refuses it, and warnings.

A doubt is something that no map has which is read right. No crop of pub128 and real_gala_train gave one
(402 crops of 32^3 to 128^3 voxels); of the same crops inverted 371 did, of those with their channels in
the order x, y, z all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from magneton_tasks.base.units import several
from magneton_tasks.kernels.conventions import (
    ZYX,
    Affinities,
    ChannelStatistics,
    as_stored,
    better_convention,
    channel_statistics,
    is_inverted,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What looks wrong: sentences, each with the key that would change it.

    Attributes
    ----------
    doubts
        The map isn't read right, or is none of affinities.
    warnings
        What may be so.
    """

    doubts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def find(
    samples: Sequence[Affinities],
    statistics: Sequence[ChannelStatistics],
    channels: Sequence[int] = ZYX,
    offset_sign: int = -1,
) -> Found:
    """What looks wrong in samples that were read as declared.

    Parameters
    ----------
    samples
        Affinities (3, z, y, x) in Magneton's convention, 0 where they don't count; boxes of
        32 x 64 x 64 or more tell most.
    statistics
        Of the channels, where all counts.
    channels, offset_sign
        As declared in ``input``, so that a sentence can name the better value: the numbers of the
        stored z, y and x channel.
    """
    doubts, warnings = _of_values(statistics), _remarks(statistics)
    finite = [s for s in samples if np.isfinite(s).all() and s.max() > s.min()]
    if finite and not doubts and not warnings:
        doubts = _of_reading(finite, channels, offset_sign)
    return Found(tuple(doubts), tuple(warnings))


def is_one_value(samples: Sequence[Affinities]) -> bool:
    """Whether each channel has the same finite value in all samples."""
    return all(s.minimum == s.maximum for s in channel_statistics(samples))


def _of_values(statistics: Sequence[ChannelStatistics]) -> list[str]:
    low, high = min(s.minimum for s in statistics), max(s.maximum for s in statistics)
    if not np.isfinite(high):
        return []  # no value at all: whoever reads it as affinities says so
    if all(s.minimum == s.maximum for s in statistics):
        held = f"the value {high:.3g}" if low == high else "one value in each channel"
        return [
            f"all boxes that were looked at hold {held} and nothing else: is the map written yet, and is "
            "it the right one? If it holds something elsewhere, set box"
        ]
    if high > 1 or low < 0:
        return [
            f"sampled affinities reach from {low:g} to {high:g}, which isn't [0, 1]: "
            "set input.scale to the stored value that means affinity 1"
        ]
    if high < 0.5:
        return [
            f"no sampled affinity is above {high:.3g}: set input.scale to the stored value that means affinity 1"
        ]
    return []


def _remarks(statistics: Sequence[ChannelStatistics]) -> list[str]:
    warnings = []
    broken = sum(s.not_finite for s in statistics)
    if broken:
        warnings.append(
            f"NaN or infinity in {several(broken, 'sampled value')}: blocks with such fail"
        )
    constant = [s.axis for s in statistics if s.minimum == s.maximum]
    if 0 < len(constant) < len(statistics):
        warnings.append(f"channel {', '.join(constant)} has one value in all sampled boxes")
    return warnings


def _of_reading(
    samples: Sequence[Affinities], channels: Sequence[int], offset_sign: int
) -> list[str]:
    """Inversion, order and sign."""
    doubts = []
    if is_inverted(samples):
        doubts.append(
            "the affinities look inverted: what is high is thin, like membranes, and what is low "
            "is thick, like cells; set input.invert to the other value"
        )
        samples = [1 - s for s in samples]
    if offset_sign == 1:
        samples = [as_stored(s) for s in samples]
    better = better_convention(samples, offset_sign)
    if better is not None:
        order, sign = better
        said = []
        if sign != offset_sign:
            said.append(f"input.offset_sign: {sign}")
        if order != ZYX:
            numbers = [channels[i] for i in order]
            letters = "".join("zyx"[numbers.index(i)] for i in sorted(numbers))
            plain = f" ({letters})" if sorted(numbers) == [0, 1, 2] else ""
            said.append(f"input.channels: {numbers}{plain}")
        doubts.append(
            "the three channels contradict each other as they are read now, and less so with "
            + " and ".join(said)
        )
    return doubts
