"""Shard files, index by index: whether they are whole, and what lies in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.checking import files
from magneton_tasks.formats.precomputed.checking.report import Part
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import Ids, KeyedSharding
from magneton_tasks.formats.precomputed.minishard import Index

_DAMAGED = "damaged"


def check_shard(
    part: Part, objects: Objects, name: str, size: int, sharding: KeyedSharding
) -> Ids | None:
    """The keys of a shard file, ascending; None where it is damaged, which is told."""
    reader = ShardReader.of_objects(objects, name, sharding)
    found = whole_index(part, reader, size)
    return None if found is None else np.sort(found.ids)


def whole_index(part: Part, reader: ShardReader, size: int) -> Index | None:
    """Where all values of a shard lie, by their begin; None where an index is damaged, which is told.

    Parameters
    ----------
    size
        Of the file.
    """
    try:
        indices = [reader.index(m) for m in range(reader.sharding.minishards)]
    except (BadDataError, NoInputError) as error:
        part.wrong(_DAMAGED, _at(reader, error.what))
        return None
    for number, index in enumerate(indices):
        shards, minishards = reader.sharding.place(index.ids)
        file_name = reader.name.rpartition("/")[2]
        there = [reader.sharding.file_name(int(s)) for s in np.unique(shards)]
        if (minishards != number).any() or any(name != file_name for name in there):
            part.wrong(_DAMAGED, _at(reader, f"keys in minishard {number} that belong elsewhere"))
            return None
    ids, begins, sizes = (
        np.concatenate([getattr(i, name) for i in indices]) for name in ("ids", "begins", "sizes")
    )
    order = np.argsort(begins, kind="stable")
    found = Index(ids[order], begins[order], sizes[order])
    problem = _of_places(found, 16 * reader.sharding.minishards, size)
    if problem is not None:
        part.wrong(_DAMAGED, _at(reader, problem))
        return None
    return found


def _of_places(index: Index, head: int, size: int) -> str | None:
    if np.unique(index.ids).size != index.ids.size:
        return "a key stands twice"
    if not index.ids.size:
        return None
    ends = index.begins + index.sizes
    if int(ends.max()) > size or int(index.begins.min()) < head:
        return f"{int((ends > size).sum())} values end after the file, which has {size:,} bytes"
    if (index.begins[1:] < ends[:-1]).any():
        return "values overlap"
    return None


def _at(reader: ShardReader, what: str) -> str:
    return what if what.startswith(reader.name) else f"{reader.name}: {what}"


@dataclass(frozen=True)
class Shard:
    """A shard file that is whole, and where its values lie, by their begin."""

    reader: ShardReader
    index: Index


def shards_of(
    part: Part, objects: Objects, folder: str, sharding: KeyedSharding, expected: Ids
) -> Iterator[Shard]:
    """The shards of a folder that are whole; those that are damaged, or missing, are told.

    Parameters
    ----------
    expected
        Keys for which a shard has to be there.
    """
    numbers, counts = np.unique(sharding.place(expected)[0], return_counts=True)
    due = {sharding.file_name(int(s)): int(n) for s, n in zip(numbers, counts, strict=True)}
    if files.can_list(objects):
        here = {n: s for n, s in files.entries(objects, folder) if n.endswith(".shard")}
    else:
        asked = files.sizes_of(objects, [f"{folder}/{name}" for name in due])
        here = {name.rpartition("/")[2]: size for name, size in asked.items()}
    part.figures["shards"] = len(here)
    for name in sorted(due.keys() - here.keys()):
        path = objects.location.name_of(f"{folder}/{name}")
        part.wrong("shards are missing", f"{path}: {due[name]:,} objects belong there")
    for name, size in sorted(here.items()):
        part.count("bytes", size)
        reader = ShardReader.of_objects(objects, f"{folder}/{name}", sharding)
        index = whole_index(part, reader, size)
        if index is not None:
            yield Shard(reader, index)
