"""A few boxes of an affinity map, examined: does it mean what the config says?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.mask import MaskReader
from magneton_tasks.kernels import doubts
from magneton_tasks.kernels.conventions import ChannelStatistics, channel_statistics


@dataclass(frozen=True, slots=True)
class Examination:
    """What sampled boxes say of a map, as it's read by the config."""

    statistics: tuple[ChannelStatistics, ...]
    found: doubts.Found


def examine(
    reader: AffinityReader,
    boxes: Iterable[Box],
    further: Iterable[Box] = (),
    mask: MaskReader | None = None,
) -> Examination:
    """Read boxes; report each channel's statistics (z, y, x) and what looks wrong.

    The tests are in `kernels.conventions` and `kernels.doubts`; boxes of 32 x 64 x 64 voxels or
    more, spread over the volume, tell most.

    Parameters
    ----------
    further
        Looked at, up to the first that holds something, where ``boxes`` hold one value.
    mask
        What lies outside tells nothing of sign, order and inversion.

    Raises
    ------
    NoInputError, BadDataError, TemporaryError
        As `AffinityReader.read`.
    """
    at = list(boxes)
    samples = [reader.read(box) for box in at]
    if doubts.is_one_value(samples):
        for box in further:
            if not doubts.is_one_value([one := reader.read(box)]):
                at, samples = [*at, box], [*samples, one]
                break
    statistics = tuple(channel_statistics(samples))
    if mask is not None:
        for box, sample in zip(at, samples, strict=True):
            sample *= mask.read(box)
    return Examination(
        statistics, doubts.find(samples, statistics, reader.channels, reader.offset_sign)
    )
