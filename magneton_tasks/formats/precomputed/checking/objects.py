"""What a layer has of each object, meshes or skeletons, against the objects of its labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from magneton_tasks.base.location import parse_json
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking import files
from magneton_tasks.formats.precomputed.checking.census import Census, Ids
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.ours import said_of
from magneton_tasks.formats.precomputed.checking.report import EXAMPLES, Part, named
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding


def compare(part: Part, noun: str, found: Ids, census: Census, dust: int | None) -> None:
    """Tell which objects have none, and which belong to no object.

    Parameters
    ----------
    noun
        Mesh or skeleton.
    found
        Ids of which there is one.
    dust
        Objects of fewer voxels need none; None: none needs one.
    """
    objects, voxels = census.objects()
    part.figures[f"objects at mip {census.mip}"] = len(objects)
    lacking = ~np.isin(objects, found)
    part.figures[f"without a {noun}"] = int(lacking.sum())
    if lacking.any():
        part.figures["the largest of them, voxels"] = int(voxels[lacking].max())
    if dust is not None:
        at = np.flatnonzero(lacking & (voxels >= dust))
        at = at[np.argsort(-voxels[at], kind="stable")]
        if at.size:
            least = f" of {dust:,} voxels or more" if dust > 1 else ""
            shown = named(objects[at[:EXAMPLES]].tolist(), voxels[at[:EXAMPLES]].tolist())
            part.wrong(f"objects{least} at mip {census.mip} have no {noun}", *shown, count=at.size)
    extra = np.setdiff1d(found, objects)
    if extra.size:
        shown = [str(i) for i in extra[:EXAMPLES].tolist()]
        part.wrong(f"ids with a {noun} have no voxel at mip {census.mip}", *shown, count=extra.size)


@dataclass(frozen=True)
class Kind:
    """What the layer says that it has of each object.

    Attributes
    ----------
    noun
        ``mesh`` | ``skeleton``.
    folder
        Below the layer.
    info
        Of the folder; empty where it has none, as one of Neuroglancer's first meshes.
    mip
        Whose labels it is compared with.
    dust
        Objects of fewer voxels need none, by the config of an output of ours; None: nothing is said.
    is_there
        Whether there is something to compare.
    """

    noun: str
    folder: str
    info: Mapping[str, Any]
    mip: int
    dust: int | None
    is_there: bool
    part: Part


def kind_of(
    noun: str, objects: Objects, folder: str, mips: Sequence[VolumeInfo], mip: int | None
) -> Kind:
    """What lies in a folder that the layer's ``info`` names; what is wrong with that is told.

    ``mip``: None: as the output, or the folder's ``info``, tells.

    Raises
    ------
    OutputError, TemporaryError
    """
    part = Part({"mesh": "meshes", "skeleton": "skeletons"}[noun])
    name = objects.location.name_of(f"{folder}/info")
    info, is_there = dict[str, Any](), True
    try:
        data = content(objects, f"{folder}/info")
        info = {} if data is None else parse_json(data, name)
        is_there = data is not None or _is_old_mesh(noun, objects, folder)
        if not is_there:
            part.wrong("the info names what isn't there", name)
    except BadDataError as error:
        part.wrong("its info can't be read", error.what)
        is_there = False
    said = said_of(objects, folder, noun, mips)
    told = _mip_of(info, mips) if said.mip is None else said.mip
    dust = said.dust if mip in (None, said.mip) else None
    return Kind(noun, folder, info, told if mip is None else mip, dust, is_there, part)


def _is_old_mesh(noun: str, objects: Objects, folder: str) -> bool:
    listed = noun == "mesh" and files.can_list(objects)
    return listed and any(True for _ in files.entries(objects, folder))


def _mip_of(info: Mapping[str, Any], mips: Sequence[VolumeInfo]) -> int:
    """The mip that meshes or skeletons were made at, as far as their ``info`` tells; else 0.

    cloud-volume and igneous write it; a model in voxels has that mip's voxel size as its scale.
    """
    told, transform = info.get("mip"), info.get("transform")
    if isinstance(told, int) and 0 <= told < len(mips):
        return told
    if isinstance(transform, list) and len(transform) == 12:
        diagonal = [transform[10], transform[5], transform[0]]
        for of_mip in mips:
            if np.allclose(diagonal, of_mip.voxel_size_nm, rtol=1e-4):
                return of_mip.mip
    return 0


def picked(count: int, sample: int | None) -> set[int]:
    """Which of so many are looked at, spread evenly; None: all."""
    if sample is None or sample >= count:
        return {*range(count)}
    return {count * i // sample for i in range(sample)}


def sharding_of(info: Mapping[str, Any]) -> KeyedSharding | None:
    """How the files lie in shards; None: each object has files of its own.

    Raises
    ------
    BadDataError
    """
    told = info.get("sharding")
    if told is None:
        return None
    if not isinstance(told, dict):
        raise BadDataError(f"sharding is {told!r}")
    return KeyedSharding.from_info(told)


def files_by_id(
    objects: Objects, folder: str, suffix: str, census: Census
) -> Iterator[tuple[int, str, int]]:
    """Id, name and size of the files that are called after an object, and perhaps a suffix.

    On a web server, which lists nothing: those of objects that have voxels.
    """
    if files.can_list(objects):
        found = files.entries(objects, folder)
    else:
        names = [f"{folder}/{i}{suffix}" for i in census.objects()[0].tolist()]
        asked = files.sizes_of(objects, names)
        found = ((name.rpartition("/")[2], size) for name, size in asked.items())
    for name, size in found:
        stem = files.stem_of(name)
        number = stem.removesuffix(suffix)
        if stem.endswith(suffix) and number.isascii() and number.isdecimal():
            yield int(number), stem, size
