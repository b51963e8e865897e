"""A few boxes of an affinity map, examined: does it mean what the config says?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.kernels.conventions import (
    ChannelStatistics,
    channel_statistics,
    convention_warnings,
)


@dataclass(frozen=True, slots=True)
class Examination:
    """What sampled boxes say of a map, as it's read by the config."""

    statistics: tuple[ChannelStatistics, ...]
    warnings: tuple[str, ...]


def examine(reader: AffinityReader, boxes: Iterable[Box]) -> Examination:
    """Read boxes; report each channel's statistics (z, y, x) and what looks wrong.

    The tests and their thresholds are in `kernels.conventions`; boxes of 32 x 64 x 64 voxels or
    more, spread over the volume, tell most.

    Raises
    ------
    NoInputError, BadDataError, TemporaryError
        As `AffinityReader.read`.
    """
    samples = [reader.read(box) for box in boxes]
    return Examination(
        tuple(channel_statistics(samples)),
        tuple(convention_warnings(samples, reader.channels, reader.offset_sign)),
    )
