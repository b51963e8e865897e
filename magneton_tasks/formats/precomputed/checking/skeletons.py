"""The skeletons of a layer: each one's bytes, and which objects have one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking.census import Census
from magneton_tasks.formats.precomputed.checking.files import content
from magneton_tasks.formats.precomputed.checking.keyed import shards_of
from magneton_tasks.formats.precomputed.checking.objects import (
    Kind,
    compare,
    files_by_id,
    picked,
    sharding_of,
)
from magneton_tasks.formats.precomputed.skeletons import parts

_DAMAGED = "damaged"
_TYPES = ("float32", "uint8", "int8", "uint16", "int16", "uint32", "int32")


def check_skeletons(
    kind: Kind,
    objects: Objects,
    census: Census,
    dust: int | None,
    sample: int | None,
    say: Callable[[str], None],
) -> None:
    """Tell what is wrong with the skeletons; ``dust`` as of `objects.compare`.

    Raises
    ------
    OutputError, TemporaryError
    """
    part = kind.part
    ids = list[int]()
    try:
        per_vertex = _attributes(kind.info)
        for number, data in _read(kind, objects, census, sample):
            ids.append(number)
            say(f"skeletons: {len(ids):,} read")
            if data is not None:
                problem = _problem_of(data, per_vertex)
                if problem is not None:
                    part.wrong(_DAMAGED, f"skeleton {number}: {problem}")
    except BadDataError as error:
        part.wrong("its info can't be read", error.what)
        return
    part.figures["skeletons"] = len(ids)
    if sample is not None:
        part.notes.append(f"sampled: the bytes of {sample:,} skeletons of each file")
    compare(part, "skeleton", np.array(ids, np.uint64), census, dust)


def _read(
    kind: Kind, objects: Objects, census: Census, sample: int | None
) -> Iterator[tuple[int, bytes | None]]:
    """Id and bytes of each; None: they aren't in the sample, or can't be read, which is told."""
    sharding = sharding_of(kind.info)
    if sharding is None:
        found = sorted(files_by_id(objects, kind.folder, "", census))
        wanted = picked(len(found), sample)
        for at, (number, name, _) in enumerate(found):
            path = f"{kind.folder}/{name}"
            yield number, _told(kind, partial(content, objects, path), at in wanted)
        return
    for shard in shards_of(kind.part, objects, kind.folder, sharding, census.objects()[0]):
        ids = shard.index.ids.tolist()
        wanted = picked(len(ids), sample)
        for at, number in enumerate(ids):
            yield number, _told(kind, partial(shard.reader.read, number), at in wanted)


def _told(kind: Kind, read: Callable[[], bytes | None], is_picked: bool) -> bytes | None:
    if not is_picked:
        return None
    try:
        return read()
    except BadDataError as error:
        kind.part.wrong(_DAMAGED, error.what)
        return None


def _attributes(info: Mapping[str, Any]) -> int:
    """Bytes of a vertex beside its place.

    Raises
    ------
    BadDataError
        The ``info`` isn't one of skeletons.
    """
    if info.get("@type") != "neuroglancer_skeletons":
        raise BadDataError(f"@type is {info.get('@type')!r}, not 'neuroglancer_skeletons'")
    try:
        told = [
            (a["id"], a["data_type"], a["num_components"])
            for a in info.get("vertex_attributes", [])
        ]
        if not all(name and kind in _TYPES and n > 0 for name, kind, n in told):
            raise BadDataError(f"vertex_attributes {told} have a name or type that isn't one")
        return sum(np.dtype(kind).itemsize * int(n) for _, kind, n in told)
    except (KeyError, TypeError) as error:
        raise BadDataError(f"vertex_attributes: {error!r}") from error


def _problem_of(data: bytes, per_vertex: int) -> str | None:
    """What is wrong with the bytes of a skeleton."""
    try:
        vertices, _, _ = parts(data, per_vertex)
    except BadDataError as error:
        return error.what
    return None if np.isfinite(vertices).all() else "a vertex whose place is no number"
