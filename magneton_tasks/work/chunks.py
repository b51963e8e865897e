"""Files of the output as records tell of them, and whether they are so: chunks, or shards of many.

A record holds, mip by mip, the size of each file and the CRC-32 of its bytes as they were written
(packed): ``{"chunks": [[4711, ...], ...], "crc32": ["0a1b2c3d...", ...]}``, eight hexadecimal digits a
file; chunks in raster order, shards by number. Records of earlier releases have no checksums.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from struct import unpack
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.units import several
from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info, Record

if TYPE_CHECKING:  # heavy
    from magneton_tasks.formats.precomputed.store import PrecomputedStore

#: What a record's file may be that is there, and isn't as recorded.
OTHER_BYTES = "its checksum isn't that of its record"


class Part(NamedTuple):
    """What a cell wrote at one mip, file by file.

    Attributes
    ----------
    box
        In voxels of ``mip``.
    names
        Of the files, without their directory.
    sizes
        In bytes.
    crc32
        None in records without checksums.
    """

    mip: int
    box: Box
    names: list[str]
    sizes: Sequence[int]
    crc32: Sequence[int] | None


class Damage(NamedTuple):
    """A chunk that isn't as recorded; ``file`` is its path below the layer."""

    file: str
    cause: str


def info_of(pool: str | None, written: Sequence[Sequence[FileInfo]]) -> Info:
    """What the record of a cell keeps: its pool, and its chunks mip by mip."""
    return Info(
        pool=pool,
        chunks=[[file.size for file in mip] for mip in written],
        crc32=["".join(f"{file.crc32:08x}" for file in mip) for mip in written],
    )


def files_written(written: Sequence[Sequence[FileInfo]], geometry: Geometry) -> str:
    """In words: ``12 chunks``."""
    return several(sum(map(len, written)), "shard" if geometry.sharded else "chunk")


def parts(
    store: PrecomputedStore, geometry: Geometry, stage: str, key: int, record: Record
) -> Iterator[Part]:
    """The chunks of a cell of apply or downsample, as its record has them, mip by mip."""
    first = geometry.cell_mips + 1 if stage == "downsample" else 0
    sums = record.info.get("crc32")
    for k, sizes in enumerate(record.info.get("chunks", ())):
        box = geometry.cell_box(stage, key, first + k)
        crcs = None if sums is None else unpack(f">{len(sizes)}I", bytes.fromhex(sums[k]))
        yield Part(first + k, box, list(store.file_names(first + k, box)), sizes, crcs)


@dataclass(frozen=True)
class ChunkFiles:
    """Looks at the files of an output; several threads may."""

    store: PrecomputedStore
    _listed: dict[int, dict[str, int]] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def differing(
        self, part: Part, read: Collection[int], *, decode: bool = False
    ) -> Iterator[Damage]:
        """The chunks that aren't as recorded.

        Parameters
        ----------
        read
            Those whose bytes are read, by their place in ``part``; of the others the size is
            looked up.
        decode
            Whether a chunk without a checksum that is read is decoded, too.

        Raises
        ------
        OutputError, TemporaryError
            The file system, or the connection to a bucket, failed.
        """
        directory = self.store.scales[part.mip].key
        if part.crc32 is None and not decode:
            read = ()
        tiles = (
            list(self.store.file_boxes(part.mip, part.box)) if part.crc32 is None and read else []
        )
        with self.store.objects.reading(directory) as reader:
            for at, (name, size) in enumerate(zip(part.names, part.sizes, strict=True)):
                if at not in read:
                    found = self._sizes(part.mip).get(name)
                    cause = None if found == size else differs(found, size)
                elif (data := reader(name, size)) is None or len(data) != size:
                    cause = differs(self._size_of(f"{directory}/{name}"), size)
                elif part.crc32 is not None:
                    cause = None if crc32(data) == part.crc32[at] else OTHER_BYTES
                else:
                    cause = self._undecodable(data, tiles[at])
                if cause is not None:
                    yield Damage(f"{directory}/{name}", cause)

    def _size_of(self, file: str) -> int | None:
        data = self.store.objects.get(file, raw=True)
        return None if data is None else len(data)

    def _sizes(self, mip: int) -> dict[str, int]:
        with self._lock:
            if mip not in self._listed:
                self._listed[mip] = self.store.sizes_on_disk(mip)
            return self._listed[mip]

    def _undecodable(self, data: bytes, tile: Box) -> str | None:
        try:
            self.store.decode(data, tile)
        except BadDataError as error:
            return error.what
        return None


def differs(found: int | None, size: int) -> str:
    """What is wrong with a file that has another size than recorded, or (None) isn't there."""
    return "it is gone" if found is None else f"it has {found:,} bytes; its record says {size:,}"


def summed_up(damaged: Sequence[Damage]) -> str:
    """Damaged chunks of one cell in a few words."""
    first = f"{damaged[0].file}: {damaged[0].cause}"
    if len(damaged) == 1:
        return f"a chunk isn't as it was written, {first}"
    return f"{several(len(damaged), 'chunk')} aren't as they were written, such as {first}"


def require_sound(
    attempt: Attempt, store: PrecomputedStore, mip: int, box: Box, records: Mapping[int, Record]
) -> None:
    """Read the chunks in ``box`` (voxels of ``mip``), and check them.

    Parameters
    ----------
    records
        The valid records of the cells of the stage that wrote the mip.

    Raises
    ------
    BadDataError
        Some aren't as recorded, or (without a checksum) can't be decoded. Their cells are
        invalidated, so that the rerun writes them again.
    """
    geometry, files, bad = attempt.plan.geometry, ChunkFiles(store), dict[int, str]()
    stage = geometry.writer_of(mip)
    for key in cells_meeting(geometry, mip, box):
        for part in parts(store, geometry, stage, key, records[key]):
            if part.mip == mip:
                inside = {
                    at
                    for at, tile in enumerate(store.file_boxes(mip, part.box))
                    if not tile.intersection(box).is_empty
                }
                if damaged := list(files.differing(part, inside, decode=True)):
                    bad[key] = summed_up(damaged)
    if bad:
        attempt.invalidate(stage, bad)
        key, cause = next(iter(bad.items()))
        raise BadDataError(
            f"{stage} cell {key}: {cause}"
            + (f"; and {several(len(bad) - 1, 'more cell')}" if len(bad) > 1 else ""),
            "rerun (in Airflow: clear the task plan): the cell is written again",
        )


def cells_meeting(geometry: Geometry, mip: int, box: Box) -> list[int]:
    """The cells that wrote ``box``, in voxels of ``mip``, of whichever stage writes it."""
    factors = zip(
        geometry.cumulative[mip], geometry.cumulative[geometry.first_mip(mip)], strict=True
    )
    factor, at = [f // below for f, below in factors], geometry.mip_box(mip).begin
    cells = geometry.cells_at(mip)
    begin, end = (
        vec3(
            w + (b - a) * f for w, b, a, f in zip(cells.box.begin, corner, at, factor, strict=True)
        )
        for corner in (box.begin, box.end)
    )
    return cells.cores_meeting(Box(begin, end))


def checksums(record: Record, mip: int) -> list[object]:
    """What tells whether a cell wrote the same at its ``mip``-th mip; of earlier releases the whole input."""
    sums = record.info.get("crc32")
    return [record.input] if sums is None else [record.info["chunks"][mip], sums[mip]]
