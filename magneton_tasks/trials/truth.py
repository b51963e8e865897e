"""The truth that a box is scored against, in the affinity map's frame."""

from __future__ import annotations

from contextlib import suppress

from magneton_tasks.base.units import several
from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.formats.metadata import VolumeInfo, read_levels, read_metadata

#: Voxel sizes that differ by less than this share are the same.
_SAME_SIZE = 1e-3


def truth_info(url: str, mip: int, affinity: VolumeInfo) -> VolumeInfo:
    """The truth's metadata, if it's of the affinity map's frame.

    Raises
    ------
    NoInputError, BadDataError, ConfigError, TemporaryError
        There's no such volume, it holds no ids, or its voxels have another size.
    """
    info = read_metadata(url, mip)
    if info.channels != 1 or not info.dtype.startswith(("uint", "int")):
        raise ConfigError(
            f"the truth {url} holds {several(info.channels, 'channel')} of {info.dtype}, not one of ids",
            "give a segmentation: one channel of integers, 0 where nothing is labelled",
        )
    # As with masks: in one box both are one volume, even where a voxel size was never written.
    if info.box != affinity.box and not info.has_voxels_of(affinity, _SAME_SIZE):
        raise ConfigError(
            f"the truth {url} has voxels of {info.size_words} nm at mip {mip}, the affinity map of "
            f"{affinity.size_words} nm at mip {affinity.mip} (zyx)",
            _fitting_mip(url, affinity),
        )
    return info


def _fitting_mip(url: str, affinity: VolumeInfo) -> str:
    """Which mip of the truth has the affinity map's voxels, if one has."""
    with suppress(MagnetonError):
        for info in read_levels(url):
            if info.has_voxels_of(affinity, _SAME_SIZE):
                return f"mip {info.mip} of the truth fits: --truth-mip {info.mip}"
    return "give a truth (or --truth-mip) with voxels of the affinity map's size"
