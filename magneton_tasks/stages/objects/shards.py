"""Stages mesh_shards and skeleton_shards: join the pieces of each object, and write shards of objects.

A shard's task reads the tables of all cells that sent it something, adds up the voxels of each object,
leaves out dust, and joins the pieces of the others one object after the other. An object whose pieces
are those of the last time is taken over from the file that is there, byte by byte.
"""

from __future__ import annotations

from functools import cached_property

from magneton_tasks.formats.listed import Listed
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import object_folders
from magneton_tasks.formats.removing import remove
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.claims import claim
from magneton_tasks.stages.kept import KeptCells
from magneton_tasks.stages.loop import Batch, each
from magneton_tasks.stages.objects.joining import Joining, Source
from magneton_tasks.stages.objects.kinds import (
    FOLDERS,
    grid_of,
    least_voxels,
    maker_of,
    mark,
    section_of,
    sharding_of,
)
from magneton_tasks.stages.objects.maker import Maker
from magneton_tasks.stages.objects.previous import Previous
from magneton_tasks.work import pieces, shard_objects
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.pieces import PieceFile
from magneton_tasks.work.record import Info, Outcome, Record, files_info
from magneton_tasks.work.stores import output_as_planned
from magneton_tasks.work.validity import pool_key


def run(job: Job) -> int:
    """Write one batch of shards; returns the exit code."""
    stage = ShardStage(job.attempt, job.stage, job.keys())
    return Batch(job).run(
        each(stage.one, lambda: (stage.kept.before, stage.sent, stage.pool)), stage.expected
    )


class ShardStage:
    """Writes shards, one after the other."""

    def __init__(self, attempt: Attempt, stage: str, keys: list[int]) -> None:
        self.attempt, self.stage, self.section = attempt, stage, section_of(stage)
        self.geometry = attempt.plan.geometry
        self.made = grid_of(self.geometry, self.section)
        self.kept, self._keys = KeptCells(attempt, stage, keys), keys
        self.sharding = sharding_of(self.geometry, self.section)
        self.folder = FOLDERS[self.section]

    @cached_property
    def pool(self) -> Record:
        return self.attempt.require("pool", {0})[0]

    @cached_property
    def cells(self) -> PackedRecords:
        """All cells, whose files are there."""
        cells = self.geometry.cells_at(self.made.mip)
        return self.attempt.require(self.section, range(len(cells)))

    @cached_property
    def sent(self) -> dict[int, list[pieces.Sent]]:
        """What cells sent to each shard of the batch."""
        return pieces.sent_to(self._keys, self.cells)

    @cached_property
    def objects(self) -> Objects:
        """The output's files; the folder is taken, and shown no more until it is proved."""
        claim(self.attempt)
        objects = output_as_planned(self.attempt).objects
        object_folders.refuse_strangers(objects, self.folder, self.section)
        object_folders.begin(objects, self.folder, mark(self.attempt.plan, self.section))
        return objects

    @cached_property
    def maker(self) -> Maker:
        return maker_of(self.attempt.config, self.attempt.plan, self.section)

    def expected(self, _: int) -> str | None:
        return pool_key(self.pool)

    def one(self, key: int) -> Outcome:
        """Write a shard, unless the pieces for it are those of the last time."""
        sent = self.sent[key]
        shard_input = digest([(s.cell, s.pieces, s.voxels, s.crc32) for s in sent])
        if kept := self.kept.outcome(key, shard_input, pool_key(self.pool)):
            return kept
        pieces.await_pieces(self.attempt, self.section, {s.cell: self.cells[s.cell] for s in sent})
        writer = self.geometry.writer_of(self.made.mip)
        sources = [
            Source(
                PieceFile(self.attempt, self.section, s, key, self.made.shard_bits),
                self.geometry.cell_box(writer, s.cell, self.made.mip),
            )
            for s in sent
        ]
        least = least_voxels(self.attempt.config, self.attempt.plan, self.section)
        joining = Joining.of(sources, least)
        info = Info(pool=pool_key(self.pool), voxels=joining.voxels)
        info["dust"], info["made"] = joining.dust, joining.made
        info["rows"] = {"pieces": joining.pieces, "objects": joining.objects}
        if not joining.objects:
            self._remove(key)
            return Outcome("empty", shard_input, info=info, summary="no objects")
        return Outcome("done", shard_input, info=info | self._write(key, joining))

    def _name(self, key: int) -> str:
        return f"{self.folder}/{self.sharding.file_name(key)}"

    def _remove(self, key: int) -> None:
        """Remove a shard that has no objects any more."""
        before = self.kept.before.get(key)
        outputs = before.info.get("outputs", {}) if before is not None else {}
        for _ in remove(self.objects, [Listed(name, *told) for name, told in outputs.items()]):
            pass  # one that isn't as it was written stays, as the list of files says

    def _write(self, key: int, joining: Joining) -> Info:
        before, name = self.kept.before.get(key), self._name(key)
        previous = Previous.of(self.attempt, self.stage, key, self.objects, name, before)
        scratch = self.attempt.stage_dir(self.stage) / f"{key}.shard"
        with previous, self.objects.new_file(name, scratch) as file:
            made = joining.write(file, self.sharding, self.maker, previous)
        table = shard_objects.write(self.attempt, self.stage, key, made.objects)
        return Info(
            files=files_info({shard_objects.OBJECTS: table}),
            outputs=files_info({name: file.info}),
            figures=made.figures,
            copied=made.copied,
        )
