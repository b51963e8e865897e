"""From a stored array and its place in space to what is known of a volume."""

from __future__ import annotations

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.info import VolumeInfo, checked_dtype, digest_of
from magneton_tasks.formats.space import Space, StoredArray


def volume_info(url: str, mip: int, path: str, array: StoredArray, space: Space) -> VolumeInfo:
    """What is known of a volume that is a stored array; ``path``: of the array, below the URL.

    Raises
    ------
    ConfigError
        Its axes aren't those of a volume, or its dtype isn't supported.
    BadDataError
        A size isn't positive.
    """
    where = locate(url).name_of(path) if path else locate(url).url
    spatial = sorted(axis for axis in space.axes if axis not in "ct")
    if (
        len(space.axes) != len(array.shape)
        or spatial != ["x", "y", "z"]
        or space.axes.count("c") > 1
    ):
        raise ConfigError(
            f"{where}: axes {space.axes!r} of shape {array.shape}",
            "a volume has the axes z, y, x and perhaps c; other axes must be of length 1. "
            "For an affinity map, input.axes says which axis is which",
        )
    at = [space.axes.index(axis) for axis in "zyx"]
    channel = space.axes.find("c")
    shape, chunk, file = (vec3(v[i] for i in at) for v in (array.shape, array.chunk, array.file))
    if min(array.shape) < 1 or min(array.chunk) < 1:
        raise BadDataError(f"{where}: a size or chunk isn't positive: {array.shape}, {array.chunk}")
    if any(n != 1 for n, axis in zip(array.shape, space.axes, strict=True) if axis == "t"):
        raise ConfigError(f"{where}: shape {array.shape} has a time axis", "give one time point")
    described = (
        array.version, array.dtype, array.shape, array.file, array.chunk, array.encoding,
        space.axes, space.size_nm, space.offset,
    )  # fmt: skip
    return VolumeInfo(
        url=url,
        format=array.format,
        mip=mip,
        dtype=checked_dtype(array.dtype, where),
        channels=array.shape[channel] if channel >= 0 else 1,
        box=Box.of_shape(shape, space.offset),
        voxel_size_nm=space.size_nm,
        chunk_size=chunk,
        encoding=array.encoding,
        digest=digest_of(described),
        array=path,
        axes=space.axes,
        file_size=file,
        file_channels=array.file[channel] if channel >= 0 else 1,
        chunk_key=array.key,
        notes=space.notes,
        axes_assumed=space.axes_assumed,
    )
