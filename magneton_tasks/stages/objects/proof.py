"""What verify proves of meshes and skeletons: nothing got lost between cells and shards, and all files are there.

::

    labelled voxels of a cell      = those of the pieces that it sent
    what cells sent to a shard     = what the shard's task read: each piece, its voxels, its digest
    voxels of a shard              = those of the objects that it holds + those of dust
    objects that aren't dust       = the ids in the index of the shard's file
    each shard's file              is there, as it was written

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.units import several
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import object_folders
from magneton_tasks.formats.precomputed.keyed_reader import ShardReader
from magneton_tasks.formats.precomputed.keyed_shards import KeyedSharding
from magneton_tasks.plan.plan import digest
from magneton_tasks.plan.stage_table import SECTIONS, Section
from magneton_tasks.stages.objects.kinds import FOLDERS, grid_of, maker_of, mark, sharding_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.chunks import OTHER_BYTES, differs
from magneton_tasks.work.record import Record
from magneton_tasks.work.validity import pool_key, why_stale

OTHER_POOL = "was made with another pool table"
Records = Mapping[int, Record]
Sent = dict[int, list[tuple[int, int, int, int]]]


@dataclass
class Proof:
    """What is found of one section; `findings` in words, each with the stage and the key that it is of."""

    attempt: Attempt
    section: Section
    pool: Record
    objects: Objects
    bad: dict[str, dict[int, str]] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Of all files in the folder."""
        return self.objects.sizes(FOLDERS[self.section])

    @property
    def shards_stage(self) -> str:
        return f"{self.section}_shards"

    def run(self) -> dict[str, Any]:
        """Look at everything; what is wrong is invalidated, so that a rerun mends it."""
        geometry = self.attempt.plan.geometry
        made = grid_of(geometry, self.section)
        cells = self.attempt.require(self.section, range(len(geometry.cells_at(made.mip))))
        shards = self.attempt.require(self.shards_stage, range(len(made.shards)))
        for stage, records in ((self.section, cells), (self.shards_stage, shards)):
            for key, record in records.items():
                if why_stale(stage, record, pool_key(self.pool)):
                    self._add(stage, key, OTHER_POOL)
        sent = self._sent(cells)
        for key, record in shards.items():
            for cause in (*_between(sent.get(key, []), record), *self._file(key, record)):
                self._add(self.shards_stage, key, cause)
        for stage, found in self.bad.items():
            self.attempt.invalidate(stage, found)
        return _summed_up(shards)

    def findings(self) -> Iterator[str]:
        """What is wrong, in words."""
        for stage, found in self.bad.items():
            noun = "cell" if stage == self.section else "shard"
            for key, cause in sorted(found.items()):
                yield f"{stage} {noun} {key}: {cause}"

    def _add(self, stage: str, key: int, cause: str) -> None:
        self.bad.setdefault(stage, {}).setdefault(key, cause)

    def _sent(self, cells: Records) -> Sent:
        """What cells sent to each shard, cell by cell: cell, pieces, voxels, checksum."""
        sent: Sent = {}
        for cell, record in cells.items():
            voxels = 0
            for shard, told in record.info.get("sent", {}).items():
                pieces, n, crc = told
                voxels += n
                sent.setdefault(int(shard), []).append((cell, pieces, n, crc))
            if voxels != record.info["voxels"]:
                cause = (
                    f"pieces of {voxels:,} voxels were sent; {record.info['voxels']:,} are labelled"
                )
                self._add(self.section, cell, cause)
        return sent

    def _file(self, key: int, record: Record) -> Iterator[str]:
        """What is wrong with a shard's file, and the objects in it."""
        sharding = sharding_of(self.attempt.plan.geometry, self.section)
        name = f"{FOLDERS[self.section]}/{sharding.file_name(key)}"
        outputs, objects = record.info.get("outputs", {}), record.info["rows"]["objects"]
        if list(outputs) != ([name] if objects else []):
            yield f"it has {several(objects, 'object')}, and names the files {sorted(outputs)}"
            return
        for size, crc in outputs.values():
            yield from self._looked_at(name, FileInfo(size, crc), sharding, objects)

    def _looked_at(
        self, name: str, told: FileInfo, sharding: KeyedSharding, n: int
    ) -> Iterator[str]:
        """What is wrong with a shard's file: its size, its checksum (on file://), the ids in its index."""
        found = self.sizes.get(name.rpartition("/")[2])
        if found != told.size:
            yield f"{name}: {differs(found, told.size)}"
            return
        if self.objects.is_local and files.crc32_of(self.objects.path(name)) != told.crc32:
            yield f"{name}: {OTHER_BYTES}"
            return
        try:
            there = ShardReader.of_objects(self.objects, name, sharding).ids().size
        except BadDataError as error:
            yield f"{name}: {error.what}"
            return
        if there != n:
            yield f"{name}: {several(there, 'object')} in its index; {n:,} were written"


def _between(sent: list[tuple[int, int, int, int]], record: Record) -> Iterator[str]:
    """What doesn't agree between cells and a shard."""
    info = record.info
    pieces, voxels = (sum(row[column] for row in sent) for column in (1, 2))
    for what, was, read in (
        ("pieces", pieces, info["rows"]["pieces"]),
        ("voxels", voxels, info["voxels"]),
    ):
        if was != read:
            yield f"cells sent {was:,} {what}, and {read:,} were read"
    if record.input != digest(sent):
        yield "it was made of other pieces than cells have now"
    (dust, left_out), made = info["dust"], info["made"]
    if made[1] + left_out != info["voxels"]:
        yield f"its objects have {made[1]:,} voxels and its dust {left_out:,}, of {info['voxels']:,}"
    if made[0] != info["rows"]["objects"]:
        yield f"{several(made[0], 'object')} of it aren't dust ({dust:,} are); it holds {info['rows']['objects']:,}"


def _summed_up(shards: Records) -> dict[str, Any]:
    """What all shards hold together."""
    infos = [record.info for record in shards.values()]
    figures: dict[str, int] = {}
    for info in infos:
        for name, n in info.get("figures", {}).items():
            figures[name] = figures.get(name, 0) + n
    outputs = [size for info in infos for size, _ in info.get("outputs", {}).values()]
    return {
        "objects": sum(info["made"][0] for info in infos),
        "dust": sum(info["dust"][0] for info in infos),
        "dust_vox": sum(info["dust"][1] for info in infos),
        "shards": len(outputs),
        "bytes": sum(outputs),
        **figures,
    }


def check(
    attempt: Attempt, pool: Record, objects: Objects, add: Callable[[str], None]
) -> dict[str, Any]:
    """Prove all sections that the config has; what was counted, by section."""
    counted = dict[str, Any]()
    for section in SECTIONS:
        if attempt.plan.geometry.objects(section) is not None:
            proof = Proof(attempt, section, pool, objects)
            counted[section] = proof.run()
            for finding in proof.findings():
                add(finding)
    return counted


def show(attempt: Attempt, objects: Objects) -> dict[str, FileInfo]:
    """Let viewers find what is proved, and no longer what isn't asked for; returns the files for that."""
    written: dict[str, FileInfo] = {}
    for section, folder in FOLDERS.items():
        if attempt.plan.geometry.objects(section) is None:
            if object_folders.is_ours(objects, folder):
                object_folders.name_in_info(objects, folder, named=False)
            continue
        sharding = sharding_of(attempt.plan.geometry, section).to_info()
        info = maker_of(attempt.config, attempt.plan, section).info(sharding)
        written |= object_folders.finish(objects, folder, mark(attempt.plan, section), info)
    return written
