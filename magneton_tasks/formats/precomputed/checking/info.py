"""The ``info`` of a layer, by the rules that Neuroglancer, cloud-volume and TensorStore share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from magneton_tasks.base.geometry import ceil_div
from magneton_tasks.base.location import Location
from magneton_tasks.errors import MagnetonError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.precomputed import metadata
from magneton_tasks.formats.precomputed.checking.report import Part

#: Members that Neuroglancer refuses as null: left out, or said.
_NEVER_NULL = ("sharding", "mesh", "skeletons", "segment_properties")
_CSEG = "compressed_segmentation"
_BREAKS = "a rule of the format is broken"


def check_info(
    part: Part, url: str, location: Location, info: Mapping[str, Any]
) -> list[VolumeInfo]:
    """Tell what is wrong with an ``info``; returns the mips that can be read by it.

    Raises
    ------
    NoInputError, TemporaryError
        It can't be read.
    """
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales:
        part.wrong(_BREAKS, "it has no scales")
        return []
    part.figures["mips"] = len(scales)
    for problem in _of_layer(info):
        part.wrong(_BREAKS, problem)
    found = []
    for mip, scale in enumerate(scales):
        try:
            of_mip = metadata.read(url, location, mip, None)
        except MagnetonError as error:
            part.wrong(f"mip {mip} can't be read by it", error.what)
            continue
        if of_mip is not None:
            found.append(of_mip)
            for problem in _of_scale(scale, of_mip):
                part.wrong(_BREAKS, f"mip {mip}: {problem}")
    for problem in _between(found):
        part.wrong(_BREAKS, problem)
    return found


def _of_layer(info: Mapping[str, Any]) -> Iterator[str]:
    if info.get("@type", "neuroglancer_multiscale_volume") != "neuroglancer_multiscale_volume":
        yield f"@type is {info['@type']!r}"
    if info.get("type") != "segmentation":
        yield f"type is {info.get('type')!r}, not 'segmentation'"
    if info.get("num_channels") != 1:
        yield f"num_channels is {info.get('num_channels')!r}: a segmentation has 1"
    if info.get("data_type") not in ("uint8", "uint16", "uint32", "uint64"):
        yield f"data_type is {info.get('data_type')!r}"
    for name in _NEVER_NULL:
        if name in info and not isinstance(info[name], str):
            yield f"{name} is {info[name]!r}: Neuroglancer refuses that; leave it out"


def _of_scale(scale: Mapping[str, Any], info: VolumeInfo) -> Iterator[str]:
    sharding = scale.get("sharding")
    if "sharding" in scale and not isinstance(sharding, dict):
        yield f"sharding is {sharding!r}: Neuroglancer refuses that; leave it out"
    if ("compressed_segmentation_block_size" in scale) != (info.encoding == _CSEG):
        yield f"compressed_segmentation_block_size doesn't go with encoding {info.encoding}"
    if sharding and len(scale["chunk_sizes"]) != 1:
        yield "a sharded scale has one size of chunks"
    if info.sharding is not None:
        grid = [ceil_div(n, c) for n, c in zip(info.box.shape, info.chunk_size, strict=True)]
        needed = sum((n - 1).bit_length() for n in grid)
        sharded = info.sharding
        bits = sharded.preshift_bits + sharded.minishard_bits + sharded.shard_bits
        if bits < needed:
            yield (
                f"its sharding has {bits} bits, and places of its chunks take {needed}: "
                "readers get wrong voxels without an error"
            )


def _between(mips: Sequence[VolumeInfo]) -> Iterator[str]:
    for one, other in pairwise(mips):
        sizes = zip(one.voxel_size_nm, other.voxel_size_nm, strict=True)
        if any(a > b for a, b in sizes):
            yield f"the voxels of mip {other.mip} are smaller than those of mip {one.mip}"
    keys = [info.array for info in mips]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield f"two scales share the folder {key}"
