"""The meshes of a layer: manifests and where their fragments lie, and which objects have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking.census import Census
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.keyed import Shard, shards_of
from magneton_tasks.formats.precomputed.checking.objects import (
    Kind,
    compare,
    files_by_id,
    picked,
    sharding_of,
)
from magneton_tasks.formats.precomputed.checking.old_meshes import ids_of_old_meshes
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding
from magneton_tasks.formats.precomputed.meshes import Manifest, decode_fragment

_DAMAGED = "damaged"
_MULTILOD, _LEGACY = "neuroglancer_multilod_draco", "neuroglancer_legacy_mesh"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of each mesh is looked at: ``reads`` and ``sample`` of `layer.Wanted`."""

    reads: bool = False
    sample: int | None = None


def check_meshes(
    kind: Kind, objects: Objects, census: Census, dust: int | None, depth: Depth, say: Say
) -> None:
    """Tell what is wrong with the meshes; ``dust`` as of `objects.compare`.

    Raises
    ------
    OutputError, TemporaryError
    """
    part, told = kind.part, kind.info.get("@type", _LEGACY)
    try:
        if told == _LEGACY:
            ids = ids_of_old_meshes(kind, objects, census, depth.sample, say)
        elif told != _MULTILOD:
            raise BadDataError(f"@type is {told!r}: neither {_MULTILOD} nor {_LEGACY}")
        else:
            _check_info(kind)
            sharding = sharding_of(kind.info)
            if sharding is None:
                ids = _of_files(kind, objects, census, depth, say)
            else:
                ids = _of_shards(kind, objects, sharding, census, depth, say)
    except BadDataError as error:
        part.wrong("its info can't be read", error.what)
        return
    part.figures["meshes"] = len(ids)
    if depth.sample is not None:
        part.notes.append(f"sampled: {depth.sample:,} manifests of each file")
    compare(part, "mesh", np.array(ids, np.uint64), census, dust)


def _check_info(kind: Kind) -> None:
    if not _bits(kind):
        bits = kind.info.get("vertex_quantization_bits")
        kind.part.wrong(
            "a rule of the format is broken", f"vertex_quantization_bits is {bits!r}: 10 or 16"
        )
    transform = kind.info.get("transform", [0] * 12)
    if not isinstance(transform, list) or len(transform) != 12:
        kind.part.wrong("a rule of the format is broken", f"transform is {transform!r}: 12 numbers")


def _bits(kind: Kind) -> int:
    """Of a corner; 0: the ``info`` says none that there can be."""
    bits = kind.info.get("vertex_quantization_bits")
    return bits if isinstance(bits, int) and bits in (10, 16) else 0


def _of_shards(
    kind: Kind,
    objects: Objects,
    sharding: KeyedSharding,
    census: Census,
    depth: Depth,
    say: Say,
) -> list[int]:
    """Ids of the meshes in shards: each manifest, and the fragments that lie before it."""
    ids = list[int]()
    for shard in shards_of(kind.part, objects, kind.folder, sharding, census.objects()[0]):
        free = 16 * sharding.minishards
        wanted = picked(len(shard.index.ids), depth.sample)
        for at, number in enumerate(shard.index.ids.tolist()):
            begin = int(shard.index.begins[at])
            if at in wanted:
                for problem in _problems_before(kind, shard, number, begin, begin - free, depth):
                    kind.part.wrong(_DAMAGED, f"{shard.reader.name}: mesh {number}: {problem}")
            free = begin + int(shard.index.sizes[at])
            say(f"meshes: {len(ids) + at + 1:,} looked at")
        ids += shard.index.ids.tolist()
    return ids


def _problems_before(
    kind: Kind, shard: Shard, number: int, begin: int, room: int, depth: Depth
) -> Iterator[str]:
    """What is wrong with a manifest, or with the ``room`` bytes before it, which hold its fragments."""
    try:
        manifest = Manifest.decode(shard.reader.read(number) or b"")
    except BadDataError as error:
        yield error.what
        return
    yield from _problems_of(manifest)
    if manifest.data_bytes > room:
        yield f"its fragments have {manifest.data_bytes:,} bytes, and there are {room:,} before its manifest"
    elif depth.reads and _bits(kind):
        start = begin - manifest.data_bytes
        read = partial(_piece_of, shard, start)
        yield from _problems_of_fragments(manifest, read, _bits(kind))


def _piece_of(shard: Shard, start: int, at: int, size: int) -> bytes:
    return shard.reader.read_at(start + at, size)


def _problems_of(manifest: Manifest) -> Iterator[str]:
    yield from manifest.problems()
    if min(manifest.chunk_shape) <= 0:
        yield "a manifest whose nodes have no extent"
    stored = [scale for scale in manifest.lod_scales if scale]
    if stored != sorted(stored):
        yield "a manifest whose lod_scales fall"


def _problems_of_fragments(
    manifest: Manifest, read: Callable[[int, int], bytes], bits: int
) -> Iterator[str]:
    """What can't be decoded; ``read`` gets a fragment by its begin and its size."""
    at = 0
    for lod, sizes in enumerate(manifest.sizes):
        for size in sizes.tolist():
            try:
                corners, faces = decode_fragment(read(at, size))
                if len(faces) and not 0 <= corners.min() <= corners.max() < 2**bits:
                    yield f"a fragment of level {lod} has corners outside its node"
            except BadDataError as error:
                yield f"level {lod}: {error.what}"
            at += size


def _of_files(kind: Kind, objects: Objects, census: Census, depth: Depth, say: Say) -> list[int]:
    """Ids of the meshes that have two files each."""
    found = sorted(files_by_id(objects, kind.folder, ".index", census))
    sizes = {number: size for number, _, size in files_by_id(objects, kind.folder, "", census)}
    wanted = picked(len(found), depth.sample)
    for at, (number, name, _) in enumerate(found):
        say(f"meshes: {at + 1:,} of {len(found):,} looked at")
        if at in wanted:
            path = f"{kind.folder}/{name}"
            for problem in _problems_of_files(kind, objects, number, path, sizes, depth):
                kind.part.wrong(_DAMAGED, f"{objects.location.name_of(path)}: {problem}")
    return [number for number, *_ in found]


def _problems_of_files(
    kind: Kind, objects: Objects, number: int, path: str, sizes: Mapping[int, int], depth: Depth
) -> Iterator[str]:
    try:
        manifest = Manifest.decode(content(objects, path) or b"")
    except BadDataError as error:
        yield error.what
        return
    yield from _problems_of(manifest)
    size = sizes.get(number, 0)
    if size != manifest.data_bytes:
        yield f"{size:,} bytes of fragments where it says {manifest.data_bytes:,}"
    elif depth.reads and _bits(kind):
        data = content(objects, f"{kind.folder}/{number}") or b""
        yield from _problems_of_fragments(manifest, lambda at, n: data[at : at + n], _bits(kind))
