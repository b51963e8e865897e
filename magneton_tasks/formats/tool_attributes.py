"""What tools write beside an array of N5 or HDF5, in the words of `space.attribute_space`.

===========================  ==================================================================
attribute                    whose
===========================  ==================================================================
resolution, offset           gunpowder, LSD, daisy, CREMI: nm
voxel_size, units            funlib
axis_names                   funlib
element_size_um              PlantSeg, ImageJ's HDF5 plugin: micrometres
axistags                     ilastik, vigra: JSON with a key of each axis
transform                    COSEM: axes, scale, translate, units, the slowest axis first
pixelResolution              n5-viewer: numbers, or dimensions and unit; the fastest axis first
downsamplingFactors          n5-viewer, BigDataViewer: how often the finest voxels
===========================  ==================================================================

A value is of all axes or of the three in space, in the order in which the array is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from magneton_tasks.errors import BadDataError

_NM_OF_UM = 1e3


def in_common_words(attributes: Mapping[str, Any], rank: int, where: str) -> dict[str, Any]:
    """The attributes that `space.attribute_space` reads, of an array of ``rank`` axes.

    Raises
    ------
    BadDataError
        One of these isn't of its tool's form.
    """
    found = {
        key: attributes[key]
        for key in ("voxel_size", "resolution", "offset", "units", "unit", "axis_names")
        if key in attributes
    }
    for key, read in _OTHERS.items():
        if key in attributes:
            try:
                said = read(attributes[key])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BadDataError(
                    f"{where}: {key}: {attributes[key]!r} isn't what that attribute holds: {error}"
                ) from error
            found = said | found
    factors = attributes.get("downsamplingFactors")
    if factors is not None and "pixelResolution" in attributes and "voxel_size" in found:
        found["voxel_size"] = _multiplied(found["voxel_size"], factors, where)
    if len(found.get("axis_names", ())) != rank:  # of the three in space alone
        found.pop("axis_names", None)
    return found


def _of_micrometres(sizes: Any) -> dict[str, Any]:
    return {"voxel_size": [_NM_OF_UM * float(size) for size in sizes]}


def _of_axistags(tags: Any) -> dict[str, Any]:
    listed = json.loads(tags) if isinstance(tags, str) else tags
    return {"axis_names": [str(axis["key"]) for axis in listed["axes"]]}


def _of_transform(transform: Any) -> dict[str, Any]:
    said = {"voxel_size": list(transform["scale"]), "units": list(transform.get("units") or ())}
    if transform.get("translate") is not None:
        said["offset"] = list(transform["translate"])
    return said | ({"axis_names": list(transform["axes"])} if transform.get("axes") else {})


def _of_pixel_resolution(said: Any) -> dict[str, Any]:
    if isinstance(said, Mapping):
        size = {"voxel_size": list(said["dimensions"])}
        return size | ({"units": said["unit"]} if said.get("unit") else {})
    return {"voxel_size": list(said)}


_OTHERS = {
    "element_size_um": _of_micrometres,
    "axistags": _of_axistags,
    "transform": _of_transform,
    "pixelResolution": _of_pixel_resolution,
}


def _multiplied(sizes: list[float], factors: Any, where: str) -> list[float]:
    try:
        return [float(s) * float(f) for s, f in zip(sizes, factors, strict=True)]
    except (TypeError, ValueError) as error:
        raise BadDataError(f"{where}: downsamplingFactors {factors!r}: {error}") from error
