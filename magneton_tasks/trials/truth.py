"""The truth that a box is scored against, in the affinity map's frame."""

from __future__ import annotations

from magneton_tasks.errors import ConfigError, MagnetonError
from magneton_tasks.formats.metadata import VolumeInfo, read_metadata

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
            f"the truth {url} holds {info.channels} channel(s) of {info.dtype}, not one of ids",
            "give a segmentation: one channel of integers, 0 where nothing is labelled",
        )
    # As with masks: in one box both are one volume, even where a voxel size was never written.
    if info.box != affinity.box and not _same_size(info, affinity):
        raise ConfigError(
            f"the truth {url} has voxels of {_nm(info)} nm at mip {mip}, the affinity map of "
            f"{_nm(affinity)} nm at mip {affinity.mip} (zyx)",
            _fitting_mip(url, affinity),
        )
    return info


def _same_size(a: VolumeInfo, b: VolumeInfo) -> bool:
    sizes = zip(a.voxel_size_nm, b.voxel_size_nm, strict=True)
    return all(abs(x - y) <= _SAME_SIZE * y for x, y in sizes)


def _nm(info: VolumeInfo) -> str:
    return " x ".join(f"{v:g}" for v in info.voxel_size_nm)


def _fitting_mip(url: str, affinity: VolumeInfo) -> str:
    """Which mip of the truth has the affinity map's voxels, if one has."""
    for mip in range(32):
        try:
            if _same_size(read_metadata(url, mip), affinity):
                return f"mip {mip} of the truth fits: --truth-mip {mip}"
        except MagnetonError:
            break
    return "give a truth (or --truth-mip) with voxels of the affinity map's size"
