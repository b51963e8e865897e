"""The meshes of a layer: manifests and where their fragments lie, and which objects have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking.census import Census
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.keyed import Shard, shards_of
from magneton_tasks.formats.precomputed.checking.manifest import bytes_of_fragments
from magneton_tasks.formats.precomputed.checking.objects import (
    Kind,
    compare,
    files_by_id,
    picked,
    sharding_of,
)
from magneton_tasks.formats.precomputed.checking.old_meshes import ids_of_old_meshes
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding

_DAMAGED = "damaged"
_MULTILOD, _LEGACY = "neuroglancer_multilod_draco", "neuroglancer_legacy_mesh"
Say = Callable[[str], None]


def check_meshes(
    kind: Kind, objects: Objects, census: Census, dust: int | None, sample: int | None, say: Say
) -> None:
    """Tell what is wrong with the meshes; ``dust`` as of `objects.compare`.

    Raises
    ------
    OutputError, TemporaryError
    """
    part, told = kind.part, kind.info.get("@type", _LEGACY)
    try:
        if told == _LEGACY:
            ids = ids_of_old_meshes(kind, objects, census, sample, say)
        elif told != _MULTILOD:
            raise BadDataError(f"@type is {told!r}: neither {_MULTILOD} nor {_LEGACY}")
        else:
            _check_info(kind)
            sharding = sharding_of(kind.info)
            if sharding is None:
                ids = _of_files(kind, objects, census, sample, say)
            else:
                ids = _of_shards(kind, objects, sharding, census, sample, say)
    except BadDataError as error:
        part.wrong("its info can't be read", error.what)
        return
    part.figures["meshes"] = len(ids)
    if sample is not None:
        part.notes.append(f"sampled: {sample:,} manifests of each file")
    compare(part, "mesh", np.array(ids, np.uint64), census, dust)


def _check_info(kind: Kind) -> None:
    if kind.info.get("vertex_quantization_bits") not in (10, 16):
        bits = kind.info.get("vertex_quantization_bits")
        kind.part.wrong(
            "a rule of the format is broken", f"vertex_quantization_bits is {bits!r}: 10 or 16"
        )
    transform = kind.info.get("transform", [0] * 12)
    if not isinstance(transform, list) or len(transform) != 12:
        kind.part.wrong("a rule of the format is broken", f"transform is {transform!r}: 12 numbers")


def _of_shards(
    kind: Kind,
    objects: Objects,
    sharding: KeyedSharding,
    census: Census,
    sample: int | None,
    say: Say,
) -> list[int]:
    """Ids of the meshes in shards: each manifest, and the fragments that lie before it."""
    ids = list[int]()
    for shard in shards_of(kind.part, objects, kind.folder, sharding, census.objects()[0]):
        free = 16 * sharding.minishards
        wanted = picked(len(shard.index.ids), sample)
        for at, number in enumerate(shard.index.ids.tolist()):
            begin = int(shard.index.begins[at])
            if at in wanted:
                problem = _problem_before(shard, number, begin - free)
                if problem is not None:
                    kind.part.wrong(_DAMAGED, f"{shard.reader.name}: mesh {number}: {problem}")
            free = begin + int(shard.index.sizes[at])
            say(f"meshes: {len(ids) + at + 1:,} looked at")
        ids += shard.index.ids.tolist()
    return ids


def _problem_before(shard: Shard, number: int, room: int) -> str | None:
    """What is wrong with a manifest, or with the ``room`` bytes before it, which hold its fragments."""
    try:
        data = shard.reader.read(number)
        size = bytes_of_fragments(data or b"")
    except BadDataError as error:
        return error.what
    if size > room:
        return f"its fragments have {size:,} bytes, and there are {room:,} before its manifest"
    return None


def _of_files(
    kind: Kind, objects: Objects, census: Census, sample: int | None, say: Say
) -> list[int]:
    """Ids of the meshes that have two files each."""
    found = sorted(files_by_id(objects, kind.folder, ".index", census))
    fragments = {number: size for number, _, size in files_by_id(objects, kind.folder, "", census)}
    wanted = picked(len(found), sample)
    for at, (number, name, _) in enumerate(found):
        say(f"meshes: {at + 1:,} of {len(found):,} looked at")
        if at not in wanted:
            continue
        path = f"{kind.folder}/{name}"
        try:
            size = bytes_of_fragments(content(objects, path) or b"")
        except BadDataError as error:
            kind.part.wrong(_DAMAGED, f"{objects.location.name_of(path)}: {error.what}")
            continue
        if fragments.get(number, 0) != size:
            what = (
                f"{fragments.get(number, 0):,} bytes of fragments where its manifest says {size:,}"
            )
            kind.part.wrong(
                _DAMAGED, f"{objects.location.name_of(f'{kind.folder}/{number}')}: {what}"
            )
    return [number for number, *_ in found]
