"""Files that records name, read and compared with what the records say: ``status --check``.

Nothing is changed. A file that is damaged never gets into a result unseen: whoever reads labels,
pairs or the pool table checks them too, and verify looks at the sizes of the output's chunks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from magneton_tasks import files
from magneton_tasks.errors import BadDataError, MagnetonError
from magneton_tasks.location import locate
from magneton_tasks.manifest import Record
from magneton_tasks.paths import join_level
from magneton_tasks.plan import Geometry
from magneton_tasks.stages.attempt import Attempt
from magneton_tasks.stages.states import Look
from magneton_tasks.stages.stores import label_store, pool_table
from magneton_tasks.stores.residuals import ResidualStore

_READ_BYTES = 8 << 20

_MENDED = (
    "nothing is lost: whatever reads it next finds it damaged, and the run after that computes it "
    "again"
)
_REWRITTEN = (
    "remove the file if it is there, then run twice: verify misses it, the next run writes it"
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that isn't what a record says; ``key`` is the block or cell."""

    key: int
    file: str
    cause: str
    hint: str


def find(attempt: Attempt, stage: str, looks: Iterable[Look]) -> Iterator[Damage]:
    """Damaged files of the blocks or cells that are done.

    Raises
    ------
    OutputError, TemporaryError
        The file system, or the connection to a bucket, failed.
    """
    done = (look for look in looks if look.kind == "done" and look.state is not None)
    records = ((look.key, r) for look in done if look.state and (r := look.state.valid))
    if join_level(stage):
        return _joins(attempt, stage, records)
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
        }
        for name, (size, crc32) in record.info.get("files", {}).items():
            cause = _compare(paths[name], size, crc32)
            if cause:
                yield Damage(key, str(paths[name]), cause, _MENDED)


def _joins(attempt: Attempt, stage: str, records: Records) -> Iterator[Damage]:
    store = ResidualStore(attempt.stage_dir(stage))
    for key, record in records:
        for size, crc32 in record.info.get("files", {}).values():
            cause = _compare(store.path(key), size, crc32)
            if cause:
                yield Damage(key, str(store.path(key)), cause, _MENDED)


def _pairs(attempt: Attempt, records: Records) -> Iterator[Damage]:
    directory, compare = attempt.stage_dir("count"), cache(_compare)  # many blocks share a file
    for key, record in records:
        info = record.info
        for kind, (size, crc32) in info["files"].items():
            path = directory / f"{kind}-{info['file']}.parquet"
            cause = compare(path, size, crc32) if info[kind][1] else None
            if cause:
                yield Damage(key, str(path), cause, _MENDED)


def _pool(attempt: Attempt, records: Records) -> Iterator[Damage]:
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


def _chunks(attempt: Attempt, stage: str, records: Records) -> Iterator[Damage]:
    """Sizes of all chunks; on file:// those with gzip are unpacked, for gzip has a checksum."""
    from magneton_tasks.stores import precomputed_codec as codec
    from magneton_tasks.stores.objects import Objects
    from magneton_tasks.stores.precomputed import PrecomputedStore
    from magneton_tasks.stores.precomputed_info import make_scales

    config, geometry, volume = attempt.config, attempt.plan.geometry, attempt.plan.volume
    given, url = config.apply, config.paths.output
    scales = make_scales(geometry.box, volume.voxel_size_nm, geometry.cumulative[1:])
    objects = Objects(locate(url))
    store = PrecomputedStore(
        url, scales, given.chunk_size, given.encoding, "uint64", 1, given.compress, objects=objects
    )
    sizes = cache(store.sizes_on_disk)
    for key, record in records:
        for mip, box, recorded in _boxes(geometry, stage, key, record):
            for name, size in zip(store.chunk_names(box), recorded, strict=True):
                file = f"{scales[mip].key}/{name}"
                found = sizes(mip).get(name)
                cause = None
                if found != size:
                    cause = _differs(found, size)
                elif objects.is_local and given.compress:
                    try:
                        codec.decompress(objects.path(file).read_bytes(), objects.path(file))
                    except (MagnetonError, OSError) as error:
                        cause = str(getattr(error, "what", error))
                if cause:
                    yield Damage(key, f"{url.rstrip('/')}/{file}", cause, _REWRITTEN)


def _boxes(
    geometry: Geometry, stage: str, key: int, record: Record
) -> Iterator[tuple[int, Any, list[int]]]:
    """Mip, box and recorded sizes of what a cell wrote."""
    first = geometry.cell_mips + 1 if stage == "downsample" else 0
    for k, recorded in enumerate(record.info["chunks"]):
        yield first + k, geometry.cell_box(stage, key, first + k), recorded


def _compare(path: Path, size: int, crc32: int) -> str | None:
    """What is wrong with a file; None: it is as recorded."""
    found = files.stat_size(path)
    if found != size:
        return _differs(found, size)
    crc = 0
    try:
        with files.open_read(path) as file:
            while data := file.read(_READ_BYTES):
                crc = zlib.crc32(data, crc)
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    return None if crc == crc32 else "its checksum isn't that of its record"


def _differs(found: int | None, size: int) -> str:
    return "it is gone" if found is None else f"it has {found:,} bytes; its record says {size:,}"
