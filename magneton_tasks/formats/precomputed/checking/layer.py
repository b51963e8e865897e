"""``magneton check-layer``: whether a precomputed segmentation is all that it says, whoever made it.

Indices and sizes of all files are looked at; voxels are read where objects are compared with their
meshes or skeletons, or where that is asked for. What is held is a byte a chunk of a mip, its shards'
names, and 16 bytes an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magneton_tasks.base.location import locate, read_json
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.missing import missing
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking import volume
from magneton_tasks.formats.precomputed.checking.census import Census
from magneton_tasks.formats.precomputed.checking.info import check_info
from magneton_tasks.formats.precomputed.checking.meshes import Depth, check_meshes
from magneton_tasks.formats.precomputed.checking.objects import Kind, kind_of
from magneton_tasks.formats.precomputed.checking.properties import check_properties
from magneton_tasks.formats.precomputed.checking.report import LayerReport, Part
from magneton_tasks.formats.precomputed.checking.skeletons import check_skeletons

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is looked at, and what counts as a problem.

    Attributes
    ----------
    mip
        Where objects are counted; None: where their meshes, or skeletons, were made.
    dust, skeleton_dust
        Objects of fewer voxels there need no mesh, no skeleton. None: what the config of an output of
        ours says; without that all need a mesh, and none a skeleton.
    sparse
        Chunks that aren't there are zeros, and no problem.
    reads
        Read and decode all chunks of all mips, and all fragments of meshes.
    sample
        Of each file, or folder, of meshes or skeletons look at so many only; None: at all.
    """

    mip: int | None = None
    dust: int | None = None
    skeleton_dust: int | None = None
    sparse: bool = False
    reads: bool = False
    sample: int | None = None


def check(url: str, wanted: Wanted, say: Say) -> LayerReport:
    """Look at all of a layer.

    Parameters
    ----------
    say
        Told how far it is.

    Raises
    ------
    NoInputError
        There is no layer.
    BadDataError
        Its ``info`` isn't JSON.
    OutputError, TemporaryError
        The file system, or the connection, failed.
    """
    location = locate(url)
    info = read_json(location, "info")
    if info is None:
        raise missing(location)
    objects = Objects(location)
    of_info = Part("info")
    mips = check_info(of_info, url, location, info)
    kinds = [
        kind_of(noun, objects, info[member].rstrip("/"), mips, wanted.mip)
        for member, noun in (("mesh", "mesh"), ("skeletons", "skeleton"))
        if isinstance(info.get(member), str) and info[member]
    ]
    censuses = {kind.mip: Census(kind.mip) for kind in kinds if kind.is_there}
    parts = [of_info, *_mips(objects, info, mips, censuses, wanted, say)]
    for kind in kinds:
        if kind.is_there and kind.mip in {m.mip for m in mips}:
            census, dust = censuses[kind.mip], _dust(kind, wanted)
            if kind.noun == "mesh":
                depth = Depth(wanted.reads, wanted.sample)
                check_meshes(kind, objects, census, dust, depth, say)
            else:
                check_skeletons(kind, objects, census, dust, wanted.sample, say)
        parts.append(kind.part)
    if isinstance(info.get("segment_properties"), str):
        part = Part("segment properties")
        check_properties(part, objects, info["segment_properties"])
        parts.append(part)
    return LayerReport(url, tuple(parts))


def _dust(kind: Kind, wanted: Wanted) -> int | None:
    is_mesh = kind.noun == "mesh"
    asked = wanted.dust if is_mesh else wanted.skeleton_dust
    if asked is None:
        asked = kind.dust
    return 0 if asked is None and is_mesh else asked


def _mips(
    objects: Objects,
    info: Mapping[str, Any],
    mips: Sequence[VolumeInfo],
    censuses: Mapping[int, Census],
    wanted: Wanted,
    say: Say,
) -> Iterator[Part]:
    for of_mip in mips:
        part = Part(f"mip {of_mip.mip}")
        scale = info["scales"][of_mip.mip]
        volume.check_files(part, objects, of_mip, scale, sparse=wanted.sparse, say=say)
        census = censuses.get(of_mip.mip)
        if wanted.reads or census is not None:
            for labels in volume.labels_of(part, of_mip, say):
                if census is not None:
                    census.add(labels)
        yield part
