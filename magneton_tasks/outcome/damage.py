"""Files that records name, read and compared with what the records say: ``status --check``.

Nothing is changed here. A file that is damaged never gets into a result unseen: whoever reads labels,
pairs or the pool table checks them too, and verify reads the output's chunks. What verify only takes
a sample of (see `proof`) is read here to the last chunk, and `status_check` sees to what is damaged there.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.location import locate
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.listed import LIST_FILE
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import OWNER_FILE
from magneton_tasks.formats.precomputed.properties import FOLDER
from magneton_tasks.plan.stage_table import facts
from magneton_tasks.stages.object_list import TABLE
from magneton_tasks.work import cell_objects, chunks, file_list, pieces, shard_objects
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.cell_objects import OBJECTS
from magneton_tasks.work.chunks import OTHER_BYTES
from magneton_tasks.work.record import KINDS, Record
from magneton_tasks.work.residuals import ResidualStore
from magneton_tasks.work.states import Judged
from magneton_tasks.work.stores import label_store, output_as_planned, pool_table

_READ_BYTES = 8 << 20

_MENDED = (
    "nothing is lost: the next run that reads it finds the damage, and the run after that computes "
    "it again"
)
_WRITTEN = "the cell has to be written again"
_AGAIN = "verify writes it again: rerun"
#: What no cell's record names.
_OF_VERIFY = frozenset({TABLE, f"{FOLDER}/info"})


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that isn't what a record says; ``key`` is the block or cell."""

    key: int
    file: str
    cause: str
    hint: str


def find(attempt: Attempt, stage: str, judged: Iterable[Judged]) -> Iterator[Damage]:
    """Damaged files of the blocks or cells that are done.

    Raises
    ------
    OutputError, TemporaryError
        The file system, or the connection to a bucket, failed.
    """
    done = (each for each in judged if each.kind == "done" and each.state is not None)
    records = ((each.key, r) for each in done if each.state and (r := each.state.valid))
    if stage == "faces" or facts(stage).grid == "groups":
        return _slices(attempt, stage, records)
    if facts(stage).section is not None:
        return _objects(attempt, stage, records)
    check = {"segment": _labels, "count": _pairs, "pool": _pool}.get(stage)
    return check(attempt, records) if check else _chunks(attempt, stage, records)


Records = Iterator[tuple[int, Record]]


def _labels(attempt: Attempt, records: Records) -> Iterator[Damage]:
    store, grid = label_store(attempt, wait_s=0), attempt.plan.geometry.grid
    residuals = ResidualStore(attempt.stage_dir("segment"))
    for key, record in records:
        at = grid.index3(key)
        paths = {
            "labels": store.shard_path(at),
            "sizes": store.sizes_path(at),
            "residual": residuals.path(key),
            **{
                name: attempt.stage_dir("segment") / file
                for name, file in record.info.get("slices", {}).items()
            },
        }
        for name, told in record.files.items():
            cause = _compare(paths[name], told.size, told.crc32)
            if cause:
                yield Damage(key, str(paths[name]), cause, _MENDED)


def _slices(attempt: Attempt, stage: str, records: Records) -> Iterator[Damage]:
    """Of what keys share each file once; the damage is that of all of them."""
    known: dict[Path, str | None] = {}
    for key, record in records:
        for name, told in record.files.items():
            path = attempt.stage_dir(stage) / record.info["slices"][name]
            if path not in known:
                known[path] = _compare(path, told.size, told.crc32)
            if cause := known[path]:
                yield Damage(key, str(path), cause, _MENDED)


def _pairs(attempt: Attempt, records: Records) -> Iterator[Damage]:
    directory, compare = attempt.stage_dir("count"), cache(_compare)  # many blocks share a file
    for key, record in records:
        for kind in KINDS:
            if kind not in record.files or not record.info[kind][1]:
                continue
            path, told = directory / f"{kind}-{record.info['file']}.parquet", record.files[kind]
            cause = compare(path, told.size, told.crc32)
            if cause:
                yield Damage(key, str(path), cause, _MENDED)


def _pool(attempt: Attempt, records: Records) -> Iterator[Damage]:
    if attempt.config.method == "exact":
        return  # it has no table
    for key, record in records:
        table = pool_table(attempt, record)
        try:
            rows = sum(table.counts().values())
            table.read_all()
            cause = None
            if rows != record.info["labels"]:
                cause = f"it has {rows:,} rows; its record says {record.info['labels']:,}"
        except BadDataError as error:
            cause = error.what
        if cause:
            yield Damage(key, str(table.directory), cause, _MENDED)


def _objects(attempt: Attempt, stage: str, records: Records) -> Iterator[Damage]:
    """Pieces of objects that cells left; shards, and the tables of what is in them."""
    section, objects = facts(stage).section, output_as_planned(attempt).objects
    assert section is not None
    for key, record in records:
        paths = {
            pieces.PIECES: pieces.path_of(attempt, section, key),
            shard_objects.OBJECTS: shard_objects.path_of(attempt, stage, key),
        }
        for name, told in record.files.items():
            if cause := _compare(paths[name], told.size, told.crc32):
                yield Damage(key, str(paths[name]), cause, _MENDED)
        for name, (size, crc32) in record.info.get("outputs", {}).items():
            if objects.is_local:
                cause = _compare(objects.path(name), size, crc32)
            else:
                data = objects.get(name, raw=True)
                cause = None if data is not None and zlib.crc32(data) == crc32 else OTHER_BYTES
            if cause:
                yield Damage(key, objects.location.name_of(name), cause, _WRITTEN)


def _chunks(attempt: Attempt, stage: str, records: Records) -> Iterator[Damage]:
    """Every chunk is read and summed up; one without a checksum is decoded."""
    geometry, url = attempt.plan.geometry, attempt.config.paths.output
    store = output_as_planned(attempt)
    looked = chunks.ChunkFiles(store)
    for key, record in records:
        if (told := record.files.get(OBJECTS)) is not None:
            path = cell_objects.path_of(attempt, key)
            if cause := _compare(path, told.size, told.crc32):
                yield Damage(key, str(path), cause, _MENDED)
        for part in chunks.parts(store, geometry, stage, key, record):
            for damaged in looked.differing(part, range(len(part.names)), decode=True):
                file = f"{url.rstrip('/')}/{damaged.file}"
                yield Damage(key, file, damaged.cause, _WRITTEN)


def of_verify(attempt: Attempt) -> Iterator[Damage]:
    """What verify wrote beside the chunks: the list of files, and those of the list that no record names.

    Raises
    ------
    OutputError, TemporaryError
        As `find`.
    """
    objects = Objects(locate(attempt.config.paths.output))
    owner = objects.get_json(OWNER_FILE) or {}
    if not owner.get("listed"):
        return  # an earlier release wrote it, or it isn't proved
    here, told = objects.location.name_of, owner["listed"]["size"]
    if (size := objects.size_of(LIST_FILE)) != told:
        yield Damage(0, here(LIST_FILE), chunks.differs(size, told), _AGAIN)
        return
    try:
        listed = [file for file in file_list.read(objects) if file.name in _OF_VERIFY]
    except BadDataError as error:
        yield Damage(0, here(LIST_FILE), error.what, _AGAIN)
        return
    for file in listed:
        data = objects.get(file.name, raw=True)
        if data is None or len(data) != file.size:
            size = None if data is None else len(data)
            yield Damage(0, here(file.name), chunks.differs(size, file.size), _AGAIN)
        elif zlib.crc32(data) != file.crc32:
            yield Damage(0, here(file.name), chunks.OTHER_BYTES, _AGAIN)


def _compare(path: Path, size: int, crc32: int) -> str | None:
    """What is wrong with a file; None: it is as recorded."""
    found = files.stat_size(path)
    if found != size:
        return chunks.differs(found, size)
    crc = 0
    try:
        with files.open_read(path) as file:
            while data := file.read(_READ_BYTES):
                crc = zlib.crc32(data, crc)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return None if crc == crc32 else "its checksum isn't that of its record"
