"""Metadata of N5 arrays and of groups of their levels, read as JSON.

N5 counts axes from the fastest on, so what its tools call x, y, z is z, y, x here. A group whose
arrays are called ``s0``, ``s1``, ... holds one volume at several resolutions, as n5-viewer and
BigDataViewer have it: mip is that number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, product
from typing import Any

from magneton_tasks.base.geometry import Vec3, ceil_div, whole
from magneton_tasks.base.location import Location, read_json
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.info import Given, VolumeInfo, no_such_mip
from magneton_tasks.formats.space import StoredArray, attribute_space
from magneton_tasks.formats.stored_info import volume_info
from magneton_tasks.formats.tool_attributes import in_common_words

_FILE = "attributes.json"
#: Attributes with a value for each axis, the fastest first.
_BY_AXIS = (
    "voxel_size", "resolution", "offset", "units", "axis_names", "axes", "pixelResolution",
    "downsamplingFactors",
)  # fmt: skip


def read(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    """As `formats.metadata.read_metadata`, for N5; None where there is neither array nor levels."""
    attributes = read_json(location, _FILE)
    if attributes is not None and "dimensions" in attributes:
        if mip != 0:
            raise no_such_mip(url, mip, [f"{attributes['dimensions']} voxels (x, y, z), one array"])
        return _of_array(url, location, 0, "", attributes, given)
    if mip < 0 or read_json(location, f"s0/{_FILE}") is None:
        return None
    level = read_json(location, f"s{mip}/{_FILE}")
    if level is None:
        there = (n for n in count() if read_json(location, f"s{n}/{_FILE}") is None)
        raise no_such_mip(url, mip, [f"s{n}" for n in range(next(there))])
    return _of_array(url, location, mip, f"s{mip}", _of_level(attributes or {}, level, mip), given)


def _of_level(group: dict[str, Any], level: dict[str, Any], mip: int) -> dict[str, Any]:
    """A level's attributes, with those of its group that hold for it."""
    shared: dict[str, Any] = {
        key: group[key] for key in ("pixelResolution", "units", "axes") if key in group
    }
    for key in ("downsamplingFactors", "scales"):
        listed = group.get(key)
        if isinstance(listed, list) and len(listed) > mip and isinstance(listed[mip], list):
            shared["downsamplingFactors"] = listed[mip]
    return shared | level


def _of_array(
    url: str,
    location: Location,
    mip: int,
    path: str,
    attributes: dict[str, Any],
    given: Given | None,
) -> VolumeInfo:
    where = location.name_of(f"{path}/{_FILE}" if path else _FILE)
    try:
        shape, chunk = (_turned(attributes[key]) for key in ("dimensions", "blockSize"))
        dtype, compression = str(attributes["dataType"]), _compression(attributes)
        if len(shape) != len(chunk):
            raise ValueError("dimensions and blockSize are of different lengths")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadDataError(
            f"{where} isn't an N5 array's: {type(error).__name__} at {error}"
        ) from error
    words = {k: _reversed(v) if k in _BY_AXIS else v for k, v in attributes.items()}
    if "axes" in words:
        words.setdefault("axis_names", words["axes"])
    array = StoredArray(
        format="n5",
        version="n5",
        dtype=dtype,
        shape=shape,
        chunk=chunk,
        file=chunk,
        encoding=compression,
        key=("", "/"),
        names=None,
        attributes=in_common_words(words, len(shape), where),
    )
    return volume_info(url, mip, path, array, attribute_space(array, where, given))


def _compression(attributes: dict[str, Any]) -> str:
    """Its type; gzip's other form has a name of its own here."""
    said = attributes.get("compression", attributes.get("compressionType", "raw"))
    if isinstance(said, dict):
        return "zlib" if said["type"] == "gzip" and said.get("useZlib") else str(said["type"])
    return str(said)


def _turned(values: Any) -> tuple[int, ...]:
    return tuple(whole(v) for v in reversed(values))


def _reversed(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("dimensions"), list):  # pixelResolution
        return {**value, "dimensions": value["dimensions"][::-1]}
    return value[::-1] if isinstance(value, list) else value


def chunk_names(info: VolumeInfo, index: Vec3) -> Iterator[str]:
    """Names of the files of a chunk (all channels) at an index of the chunk grid, (z, y, x)."""
    zyx = dict(zip("zyx", index, strict=True))
    spans = [
        range(ceil_div(info.channels, info.file_channels)) if axis == "c" else [zyx.get(axis, 0)]
        for axis in reversed(info.axes)
    ]
    for position in product(*spans):
        yield "/".join(map(str, position))
