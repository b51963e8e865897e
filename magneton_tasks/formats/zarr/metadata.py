"""Metadata of Zarr v2 and v3 arrays and OME-Zarr groups, read as JSON.

An OME-Zarr group (0.4 in ``.zattrs``, 0.5 in ``zarr.json``) holds a list of datasets: mip is the
index into it. Axes, voxel size (``scale``) and voxel offset (``translation``) come from there,
in the axes' units. A plain array may say ``voxel_size`` or ``resolution`` and ``offset`` in its
attributes (funlib's and daisy's habit, in nm, in the order of its spatial axes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

from magneton_tasks.base.geometry import Vec3, ceil_div, whole
from magneton_tasks.base.location import Location, locate, read_json
from magneton_tasks.errors import BadDataError, ConfigError, NoInputError
from magneton_tasks.formats.info import Given, VolumeInfo, no_such_mip
from magneton_tasks.formats.missing import what_it_holds
from magneton_tasks.formats.space import (
    Space,
    StoredArray,
    attribute_space,
    ome_space,
)
from magneton_tasks.formats.stored_info import volume_info


def read(url: str, location: Location, mip: int, given: Given | None) -> VolumeInfo | None:
    """As `formats.metadata.read_metadata`, for Zarr; None where there is neither array nor group."""
    array = _read_array(location, "")
    if array is None:
        multiscale = _multiscale(_group_attributes(location))
        if multiscale is None:
            return None
        return _from_group(url, location, mip, multiscale, given)
    if mip != 0:
        raise no_such_mip(url, mip, [f"{array.shape} voxels, a plain array"])
    return volume_info(url, 0, "", array, _parents_space(location, array, given))


def _from_group(
    url: str, location: Location, mip: int, multiscale: dict[str, Any], given: Given | None
) -> VolumeInfo:
    where = location.name_of("its multiscales")
    try:
        paths = [str(dataset["path"]) for dataset in multiscale["datasets"]]
    except (KeyError, TypeError) as error:
        raise BadDataError(f"{where} has no datasets with paths: {error}") from error
    if not 0 <= mip < len(paths):
        raise no_such_mip(url, mip, [f"dataset {path}" for path in paths])
    array = _read_array(location, paths[mip])
    if array is None:
        raise NoInputError(f"{where} names dataset {paths[mip]!r}, which isn't there")
    space = ome_space(multiscale, mip, array, where, given)
    return volume_info(url, mip, paths[mip], array, space)


# ---------------------------------------------------------------------------- arrays


def _read_array(location: Location, path: str) -> StoredArray | None:
    below = f"{path}/" if path else ""
    for name, parse in ((f"{below}zarr.json", _array_v3), (f"{below}.zarray", _array_v2)):
        content = read_json(location, name)
        if content is None or content.get("node_type") == "group":
            continue
        if name.endswith(".zarray"):
            content["attributes"] = read_json(location, f"{below}.zattrs") or {}
        try:
            return parse(content)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BadDataError(
                f"{location.name_of(name)} isn't a Zarr array's: {type(error).__name__} at {error}"
            ) from error
    return None


def _array_v3(content: dict[str, Any]) -> StoredArray:
    file = _ints(content["chunk_grid"]["configuration"]["chunk_shape"])
    codecs = content["codecs"]
    chunk = file
    for codec in codecs:
        if codec["name"] == "sharding_indexed":
            chunk = _ints(codec["configuration"]["chunk_shape"])
            codecs = codec["configuration"]["codecs"]
    encoding = content["chunk_key_encoding"]
    old = encoding["name"] == "v2"
    separator = encoding.get("configuration", {}).get("separator", "." if old else "/")
    names = content.get("dimension_names")
    return StoredArray(
        format="zarr3",
        version=3,
        dtype=str(content["data_type"]),
        shape=_ints(content["shape"]),
        chunk=chunk,
        file=file,
        encoding="+".join(str(codec["name"]) for codec in codecs),
        key=("" if old else f"c{separator}", separator),
        names=[str(name) for name in names] if names and all(names) else None,
        attributes=content.get("attributes") or {},
    )


def _array_v2(content: dict[str, Any]) -> StoredArray:
    attributes = content["attributes"]
    compressor = content.get("compressor") or {"id": "raw"}
    filters = [str(f["id"]) for f in content.get("filters") or ()]
    names = attributes.get("_ARRAY_DIMENSIONS")
    return StoredArray(
        format="zarr2",
        version=2,
        dtype=_numpy_name(content["dtype"]),
        shape=_ints(content["shape"]),
        chunk=_ints(content["chunks"]),
        file=_ints(content["chunks"]),
        encoding="+".join([*filters, str(compressor["id"])]),
        key=("", content.get("dimension_separator") or "."),
        names=[str(name) for name in names] if names else None,
        attributes=attributes,
    )


def _numpy_name(dtype: Any) -> str:
    """``<u2`` -> ``uint16``; what isn't a number stays as it is (and is refused by name)."""
    match = re.fullmatch(r"[<>|=]([uifb])(\d+)", str(dtype))
    if match is None:
        return str(dtype)
    kind = {"u": "uint", "i": "int", "f": "float", "b": "bool"}[match[1]]
    return kind if kind == "bool" else f"{kind}{8 * int(match[2])}"


def _ints(values: Sequence[Any]) -> tuple[int, ...]:
    return tuple(map(whole, values))


def chunk_names(info: VolumeInfo, index: Vec3) -> Iterator[str]:
    """Names of the files of a chunk (all channels) at an index of the chunk grid, (z, y, x)."""
    zyx = dict(zip("zyx", index, strict=True))
    spans = [
        range(ceil_div(info.channels, info.file_channels)) if axis == "c" else [zyx.get(axis, 0)]
        for axis in info.axes
    ]
    before, between = info.chunk_key
    for position in product(*spans):
        yield before + between.join(map(str, position))


# ---------------------------------------------------------------------------- groups


def _group_attributes(location: Location) -> dict[str, Any]:
    """An OME-Zarr group's attributes; empty where there's no group."""
    group = read_json(location, "zarr.json")
    attributes = read_json(location, ".zattrs") if group is None else group.get("attributes", {})
    if attributes is None and read_json(location, ".zgroup") is None:
        return {}
    if attributes is None or _multiscale(attributes) is None:
        raise ConfigError(
            f"{location.url} is a Zarr group without OME-Zarr multiscales",
            what_it_holds(location) or "give the path of an array in it",
        )
    return dict(attributes)


def _multiscale(attributes: dict[str, Any]) -> dict[str, Any] | None:
    ome = attributes.get("ome")
    listed = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return listed[0]
    return None


def _parents_space(location: Location, array: StoredArray, given: Given | None) -> Space:
    """An array opened by its own path may be a dataset of the OME-Zarr group above it."""
    own = array.attributes
    if not any(key in own for key in ("voxel_size", "resolution")):
        above, _, name = location.url.rpartition("/")
        if above and not above.endswith("/"):
            parent = locate(above)
            try:
                multiscale = _multiscale(_group_attributes(parent))
            except ConfigError:
                multiscale = None
            paths = [d.get("path") for d in (multiscale or {}).get("datasets", ())]
            if multiscale is not None and name in paths:
                where = parent.name_of("its multiscales")
                return ome_space(multiscale, paths.index(name), array, where, given)
    return attribute_space(array, f"{location.url}: its attributes", given)
