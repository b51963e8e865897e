"""Volume metadata read as JSON, without cloud-volume, zarr or numpy.

Neuroglancer precomputed (``info``), Zarr v2 (``.zarray``) and v3 (``zarr.json``), arrays or
OME-Zarr groups. plan and the DAGs stand on this: importing cloud-volume costs 3 CPU s.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import product
from math import inf
from typing import Any

from magneton_tasks.base.geometry import Box, Size3, Vec3, ceil_div, vec3, whole
from magneton_tasks.base.location import Location, locate, missing, read_json
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.formats.info import (
    ENCODING_OF,
    VolumeInfo,
    checked_dtype,
    digest_of,
    no_such_mip,
)
from magneton_tasks.formats.zarr import metadata as metadata_zarr

__all__ = ["VolumeInfo", "chunk_identity", "chunk_name", "read_metadata"]

#: Suffixes that cloud-files puts behind compressed files on file://.
_SUFFIXES = (*ENCODING_OF, ".xz", ".bz2")


def read_metadata(url: str, mip: int = 0) -> VolumeInfo:
    """What a volume's metadata says of one mip.

    Parameters
    ----------
    url
        ``file:///path``, a plain path, gs://, s3:// or https://; may begin with ``precomputed://``,
        ``zarr://``, ``zarr2://`` or ``zarr3://``, else the files there tell the format.
    mip
        Index of the scale (precomputed) or of the dataset (OME-Zarr); 0 for a plain array.

    Raises
    ------
    NoInputError
        Nothing there, or it can't be read; names the nearest directory that exists.
    BadDataError
        The metadata isn't what its format says; with file and line.
    ConfigError
        A mip that doesn't exist, an unsupported dtype or axis, a URL that can't be right.
    TemporaryError
        The connection failed.
    """
    location = locate(url)
    if location.format in (None, "precomputed"):
        info = read_json(location, "info")
        if info is not None:
            return _precomputed(url, location, info, mip)
    if location.format in (None, "zarr"):
        found = metadata_zarr.read(url, location, mip)
        if found is not None:
            return found
    raise missing(location)


def _precomputed(url: str, location: Location, info: dict[str, Any], mip: int) -> VolumeInfo:
    where = location.name_of("info")
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
        sharded = scale.get("sharding") is not None
        encoding = str(scale["encoding"])
        dtype, channels = str(info["data_type"]), whole(info["num_channels"])
        cseg = _zyx(scale.get("compressed_segmentation_block_size", (8, 8, 8)))
        key = str(scale["key"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadDataError(
            f"{where} isn't a precomputed volume's: {type(error).__name__} at {error}",
            "is it the info of a mesh, a skeleton or an annotation layer?",
        ) from error
    if box.is_empty or min(chunk) < 1 or channels < 1 or not all(0 < s < inf for s in size):
        raise BadDataError(f"{where}: a size, chunk or voxel size of mip {mip} isn't positive")
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
        file_size=None if sharded else chunk,
        file_channels=channels,
        cseg_block=cseg,
    )


def _zyx(xyz: Any) -> Vec3:
    x, y, z = map(whole, xyz)
    return z, y, x


def chunk_name(box: Box) -> str:
    """The file name of a precomputed chunk: ``x0-x1_y0-y1_z0-z1``."""
    spans = zip(reversed(box.begin), reversed(box.end), strict=True)
    return "_".join(f"{begin}-{end}" for begin, end in spans)


def chunk_identity(url: str, mip: int, box: Box, info: VolumeInfo | None = None) -> str:
    """Digest of the names, sizes and modification times of the chunks that meet a box.

    For ``input.identity: chunks``: a chunk that is written anew, added or removed changes the
    digest of the blocks that read it, and of no other.

    Parameters
    ----------
    info
        The volume's metadata, where it's at hand; saves reading it again.

    Raises
    ------
    ConfigError
        The volume isn't on file://, or is sharded precomputed.
    """
    info = info or read_metadata(url, mip)
    path = locate(info.url).path
    if path is None or info.file_size is None:
        kind = "sharded" if path is not None else "not on file://"
        raise ConfigError(
            f"input.identity: chunks doesn't work for {url}: it is {kind}",
            "use input.identity: metadata, and raise input.version when the input changes",
        )
    digest = hashlib.sha256(info.digest.encode())
    suffixes = _SUFFIXES if info.format == "precomputed" else ("",)
    for name in _chunk_files(info, box):
        for suffix in suffixes:
            try:
                status = os.stat(path / info.array / (name + suffix))
            except (FileNotFoundError, NotADirectoryError):
                continue
            digest.update(f"{name}{suffix} {status.st_size} {status.st_mtime_ns}\n".encode())
            break
    return digest.hexdigest()


def _chunk_files(info: VolumeInfo, box: Box) -> Iterator[str]:
    """Names of the files that hold voxels of ``box``, without compression's suffix."""
    assert info.file_size is not None
    box = box.intersection(info.box)
    spans = [
        range((b - vb) // size, ceil_div(e - vb, size))
        for b, e, vb, size in zip(box.begin, box.end, info.box.begin, info.file_size, strict=True)
    ]
    for index in product(*spans) if not box.is_empty else ():
        if info.format == "precomputed":
            begin = vec3(
                b + i * s for b, i, s in zip(info.box.begin, index, info.file_size, strict=True)
            )
            yield chunk_name(Box.of_shape(info.file_size, begin).intersection(info.box))
        else:
            yield from metadata_zarr.chunk_names(info, vec3(index))
