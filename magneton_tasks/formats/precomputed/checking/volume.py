"""The chunks of a mip, each in a file of its own or in shards: whether all are there, and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3, ceil_div, vec3
from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import chunks as codec
from magneton_tasks.formats.precomputed import read
from magneton_tasks.formats.precomputed.checking import files
from magneton_tasks.formats.precomputed.checking.keyed import check_shard
from magneton_tasks.formats.precomputed.checking.report import EXAMPLES, Part
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding
from magneton_tasks.formats.precomputed.metadata import chunk_name
from magneton_tasks.formats.precomputed.sharding import Sharding

#: Chunks that a web server, which lists none, is asked for at once.
_ASKED = 1000
#: What is read at once, in chunks per axis.
_READ: Vec3 = (1, 2, 4)
_MISSING = "chunks are missing"
_DAMAGED = "damaged"
_UNREAD = "voxels that can't be read"
Say = Callable[[str], None]


def check_files(
    part: Part,
    objects: Objects,
    info: VolumeInfo,
    scale: Mapping[str, Any],
    *,
    sparse: bool,
    say: Say,
) -> None:
    """Whether the files of a mip are those that its ``info`` asks for.

    Parameters
    ----------
    scale
        Of the ``info``.
    sparse
        Chunks that aren't there are counted, and are no problem.
    say
        Told how far it is.

    Raises
    ------
    OutputError, TemporaryError
        The file system, or the connection, failed.
    """
    grid = vec3(ceil_div(n, c) for n, c in zip(info.box.shape, info.chunk_size, strict=True))
    part.figures["chunks"] = int(np.prod(grid))
    if scale.get("sharding") is None:
        here = _chunks_here(part, objects, info, grid, say)
        gone = np.flatnonzero(~here.reshape(-1))
        names = (_name(info, vec3(np.unravel_index(i, grid))) for i in gone[:EXAMPLES])
        _missing(
            part, len(gone), [objects.location.name_of(f"{info.array}/{n}") for n in names], sparse
        )
    elif info.sharding is None:
        part.notes.append(
            "its chunks lie in shards by a hash of their ids: shards weren't looked at"
        )
    else:
        _check_shards(part, objects, info, info.sharding, sparse, say)


def _missing(part: Part, count: int, examples: list[str], sparse: bool) -> None:
    if count:
        part.count("missing chunks", count)
        if not sparse:
            part.wrong(_MISSING, *examples, count=count)


# ------------------------------------------------------------------ a file a chunk
def _chunks_here(
    part: Part, objects: Objects, info: VolumeInfo, grid: Vec3, say: Say
) -> NDArray[np.bool_]:
    """Which chunks have a file: bool (z, y, x) in places of the grid; a byte a chunk is all it holds."""
    here = np.zeros(grid, np.bool_)
    done, files_seen = 0, _listed if files.can_list(objects) else _asked
    for name, size in files_seen(objects, info, grid):
        done += 1
        if done % _ASKED == 0:
            say(f"{part.name}: {done:,} files")
        place = _place(info, name)
        if place is None:
            part.count("other files")
            continue
        part.count("bytes", size)
        here[place] = True
        if not size:
            part.wrong(_DAMAGED, f"{objects.location.name_of(f'{info.array}/{name}')}: empty")
    return here


def _listed(objects: Objects, info: VolumeInfo, _: Vec3) -> Iterator[tuple[str, int]]:
    return files.entries(objects, info.array)


def _asked(objects: Objects, info: VolumeInfo, grid: Vec3) -> Iterator[tuple[str, int]]:
    """Of a web server: each by its name."""
    prefix = f"{info.array}/"
    places = iter(np.ndindex(*grid))
    while some := [
        prefix + _name(info, vec3(p)) for _, p in zip(range(_ASKED), places, strict=False)
    ]:
        for name, size in files.sizes_of(objects, some).items():
            yield name.removeprefix(prefix), size


def _name(info: VolumeInfo, place: Vec3) -> str:
    return chunk_name(_box(info, place))


def _box(info: VolumeInfo, place: Vec3) -> Box:
    begin = zip(info.box.begin, place, info.chunk_size, strict=True)
    return Box.of_shape(info.chunk_size, vec3(b + p * s for b, p, s in begin)).intersection(
        info.box
    )


def _place(info: VolumeInfo, name: str) -> Vec3 | None:
    """Of the chunk of a file name; None where it isn't one of the grid."""
    box = codec.chunk_box(name)
    if box is None or not info.box.contains(box):
        return None
    steps = zip(box.begin, info.box.begin, info.chunk_size, strict=True)
    place = vec3((b - begin) // s for b, begin, s in steps)
    return place if _box(info, place) == box else None


# ------------------------------------------------------------------ shards
def _check_shards(
    part: Part, objects: Objects, info: VolumeInfo, sharding: Sharding, sparse: bool, say: Say
) -> None:
    keyed = KeyedSharding(
        sharding.shard_bits, sharding.minishard_bits, sharding.preshift_bits, "identity",
        sharding.data_encoding, sharding.index_encoding,
    )  # fmt: skip
    expected = list(sharding.shards_in(Box.of_shape(sharding.grid)))
    part.figures["shards"] = len(expected)
    sizes = dict(
        files.entries(objects, info.array)
        if files.can_list(objects)
        else _asked_shards(objects, info, [name for name, _ in expected])
    )
    along = _bits_along(sharding)
    for done, (name, places) in enumerate(expected):
        say(f"{part.name}: {done:,} of {len(expected):,} shards")
        due = _ids(along, places)
        path = f"{info.array}/{name}"
        size = sizes.pop(name, None)
        if size is None:
            part.wrong("shards are missing", f"{objects.location.name_of(path)}: {len(due)} chunks")
            part.count("missing chunks", len(due))
            continue
        part.count("bytes", size)
        found = check_shard(part, objects, path, size, keyed)
        if found is None:
            continue
        extra = np.setdiff1d(found, due)
        if extra.size:
            part.wrong(
                _DAMAGED, f"{objects.location.name_of(path)}: {extra.size} ids that no chunk has"
            )
        gone = len(due) - (len(found) - len(extra))
        _missing(
            part, gone, [f"{objects.location.name_of(path)}: {gone} of {len(due)} chunks"], sparse
        )
    if sizes:
        part.count("other files", len(sizes))


def _asked_shards(
    objects: Objects, info: VolumeInfo, names: list[str]
) -> Iterator[tuple[str, int]]:
    prefix = f"{info.array}/"
    for name, size in files.sizes_of(objects, [prefix + name for name in names]).items():
        yield name.removeprefix(prefix), size


def _bits_along(sharding: Sharding) -> list[NDArray[np.uint64]]:
    """Per axis, what each place adds to the id of a chunk: ids are sums over the axes."""
    return [
        np.array(
            [sharding.chunk_id(vec3(at * (axis == a) for a in range(3))) for at in range(n)],
            np.uint64,
        )
        for axis, n in enumerate(sharding.grid)
    ]


def _ids(along: list[NDArray[np.uint64]], places: Box) -> NDArray[np.uint64]:
    z, y, x = (bits[s] for bits, s in zip(along, places.slices(), strict=True))
    return np.sort((z[:, None, None] + y[:, None] + x).reshape(-1))


# ------------------------------------------------------------------ voxels
def labels_of(part: Part, info: VolumeInfo, say: Say) -> Iterator[NDArray[Any]]:
    """All voxels of a mip that can be read, some chunks at a time; what can't be is told.

    Missing chunks are zeros.
    """
    volume = read.open_volume(info, fill_missing=True)
    size = vec3(n * s for n, s in zip(_READ, info.chunk_size, strict=True))
    boxes = prod(ceil_div(n, s) for n, s in zip(info.box.shape, size, strict=True))
    for done, box in enumerate(info.box.tiles(size)):
        say(f"{part.name}: {100 * done // boxes} % of the voxels read")
        try:
            yield volume.read(box)
        except (BadDataError, NoInputError):
            yield from _chunk_by_chunk(part, volume, info.chunks(box))


def _chunk_by_chunk(part: Part, volume: Any, boxes: list[Box]) -> Iterator[NDArray[Any]]:
    for box in boxes:
        try:
            yield volume.read(box)
        except (BadDataError, NoInputError) as error:
            part.wrong(_UNREAD, error.what)
