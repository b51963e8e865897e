"""Metadata of precomputed volumes, read from their ``info``; names of their chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3, ceil_div, vec3, whole
from magneton_tasks.base.location import Location, read_json
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.given import checked_size
from magneton_tasks.formats.info import (
    ENCODING_OF,
    Given,
    VolumeInfo,
    checked_dtype,
    digest_of,
    no_such_mip,
)
from magneton_tasks.formats.precomputed.sharding import Sharding

#: Suffixes that cloud-files puts behind compressed files on file://.
SUFFIXES = (*ENCODING_OF, ".xz", ".bz2")


def read(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    """As `formats.metadata.read_metadata`; None where there is no ``info``."""
    info = read_json(location, "info")
    if info is not None and given is not None and given.axes is not None:
        raise ConfigError(
            f"input.axes is {given.axes}, and {url} is precomputed: that format has one order of axes",
            "remove input.axes; input.channels says which channel is which axis",
        )
    return None if info is None else _of_info(url, location.name_of("info"), info, mip, given)


def _of_info(
    url: str, where: str, info: dict[str, Any], mip: int, given: Given | None
) -> VolumeInfo:
    try:
        scales = info["scales"]
        if not 0 <= mip < len(scales):
            raise no_such_mip(
                url, mip, ["x".join(map(str, s["resolution"])) + " nm (x, y, z)" for s in scales]
            )
        scale = scales[mip]
        x, y, z = (float(v) for v in scale["resolution"])
        size: Size3 = (z, y, x)
        box = Box.of_shape(_zyx(scale["size"]), _zyx(scale.get("voxel_offset", (0, 0, 0))))
        chunk = _zyx(scale["chunk_sizes"][0])
        sharded = scale.get("sharding")
        grid = vec3(ceil_div(n, c) for n, c in zip(box.shape, chunk, strict=True))
        sharding = None if sharded is None else Sharding.from_info(sharded, grid)
        encoding = str(scale["encoding"])
        dtype, channels = str(info["data_type"]), whole(info["num_channels"])
        cseg = _zyx(scale.get("compressed_segmentation_block_size", (8, 8, 8)))
        key = str(scale["key"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadDataError(
            f"{where} isn't a precomputed volume's: {type(error).__name__} at {error}",
            "is it the info of a mesh, a skeleton or an annotation layer?",
        ) from error
    if box.is_empty or min(chunk) < 1 or channels < 1:
        raise BadDataError(f"{where}: a size or chunk of mip {mip} isn't positive")
    size, note = checked_size(size, f"{where}, mip {mip}", given)
    identity = {"data_type": dtype, "num_channels": channels, "scale": scale}
    return VolumeInfo(
        url=url,
        format="precomputed",
        mip=mip,
        dtype=checked_dtype(dtype, where),
        channels=channels,
        box=box,
        voxel_size_nm=size,
        chunk_size=chunk,
        encoding=encoding,
        digest=digest_of(identity),
        array=key,
        axes="czyx",
        file_size=chunk if sharded is None else None,
        file_channels=channels,
        cseg_block=cseg,
        sharding=sharding,
        notes=() if note is None else (note,),
    )


def _zyx(xyz: Any) -> Vec3:
    x, y, z = map(whole, xyz)
    return z, y, x


def chunk_name(box: Box) -> str:
    """The file name of a precomputed chunk: ``x0-x1_y0-y1_z0-z1``."""
    spans = zip(reversed(box.begin), reversed(box.end), strict=True)
    return "_".join(f"{begin}-{end}" for begin, end in spans)


def chunk_names(info: VolumeInfo, index: Vec3) -> Iterator[str]:
    """The name of the file of a chunk at an index of the chunk grid, without a suffix."""
    assert info.file_size is not None
    begin = vec3(b + i * s for b, i, s in zip(info.box.begin, index, info.file_size, strict=True))
    yield chunk_name(info.as_stored(Box.of_shape(info.file_size, begin).intersection(info.box)))
