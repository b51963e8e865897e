"""Stage segment of the exact method: affinities of a core and one plane more -> supervoxels and what stays open.

A block leaves two files, its labels (supervoxels) and its residual; the tables of supervoxels of
many blocks share one.

Blocks of a batch are neighbours (`work.job.Job.keys`) and are worked from the last to the first (with offset_sign 1 the other way):
the plane beyond a block's high face is then mostly the low plane of one that was read before, and
hardly any chunk is decoded twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.grid import Grid
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.exact_reader import ExactReader, Planes
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.rounds.block import segment_supervoxels
from magneton_tasks.kernels.exact.rounds.curve_rows import CurveRows, to_rows
from magneton_tasks.kernels.exact.rounds.supervoxels import (
    SupervoxelRows,
    SupervoxelShapes,
    describe,
)
from magneton_tasks.stages.child import made_in_child
from magneton_tasks.stages.loop import Batch, Begin, say
from magneton_tasks.stages.segmented import no_foreground, segmented
from magneton_tasks.stages.slicing import Made, Rows, digest_of, into_slices
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest, open_affinity, open_mask
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import label_store, residual_store

#: what files of supervoxels are called
SUPERVOXELS = "supervoxels"
Tables = tuple[SupervoxelRows, SupervoxelShapes, CurveRows]
_KINDS = (SupervoxelRows, SupervoxelShapes, CurveRows)
#: for warming up: a block with a neighbour
_TWO_BLOCKS = Grid(((0, 2, 4), (0, 2), (0, 2)))


def run(job: Job) -> int:
    """Segment one batch of blocks; returns the exit code."""
    stage = ExactSegmentStage(job.attempt)
    return Batch(job).run(stage.process, partial(input_digest, job.attempt))


class ExactSegmentStage:
    """Segments blocks one by one, each in a forked child; this process reads."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.store, self.residuals = label_store(attempt), residual_store(attempt)
        self.settings = attempt.exact_settings

    @cached_property
    def reader(self) -> ExactReader:
        affinity = open_affinity(self.attempt.config)
        mask = open_mask(self.attempt.config, affinity.info)
        return ExactReader(affinity, mask, self.grid.box)

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if not keys:
            return
        self.store.create()
        self._warm()
        ordered = self.reader.in_order(keys)
        kinds = {SUPERVOXELS: _KINDS}
        directory = self.attempt.stage_dir("segment")
        yield from into_slices(directory, kinds, self._made, lambda: None)(ordered, begin)
        needed, decoded = self.reader.needed_bytes, self.reader.decoded_bytes
        say(
            f"segment: decoded {decoded:,} bytes of chunks for {needed:,} needed ({decoded / max(needed, 1):.2f})"
        )

    def _warm(self) -> None:
        """Open the volumes and load the compiled code once, before the children fork."""
        _ = self.reader
        affinity = np.full((3, 2, 2, 2), 128, np.uint8)
        planes = (affinity[0, 0], affinity[1, 0], affinity[2, 0])
        place = Place.of(_TWO_BLOCKS, 0)
        found = segment_supervoxels(affinity, planes, place, self.settings)
        describe(found.supervoxels, found.sizes, found.labels, place.inner)

    def _made(self, key: int) -> Made:
        """Work a block in a child, and take over its tables."""
        with _between_processes() as shared:
            work = self._prepare(key, shared)
            log = self.attempt.paths.block_log("segment", key)
            outcome = made_in_child(work, log, self.attempt.memory_limit("segment"))
            if outcome.state == "empty":
                return Made(outcome)
            return Made(outcome, [Rows(SUPERVOXELS, table) for table in _take(shared)])

    def _prepare(self, key: int, shared: int) -> Callable[[], Outcome]:
        """Read a block; what its child does."""
        core = self.grid.core(key)
        try:
            affinity, high = self.reader.read(core)
        except BadAffinityError as error:
            raise error.placed(core.begin, f"block {key}: ") from None
        except BadDataError as error:
            raise BadDataError(f"block {key} (core {core}): {error.what}", error.hint) from None
        return partial(self.one, key, affinity, high, shared)

    def one(self, key: int, affinity: NDArray[np.uint8], high: Planes, shared: int) -> Outcome:
        """Segment a block, store labels and what stays open, hand on its tables; in the child."""
        digest = input_digest(self.attempt, key)
        place = Place.of(self.grid, key)
        found = segment_supervoxels(affinity, high, place, self.settings)
        n = found.sizes.size - 1
        if n == 0:
            return no_foreground(digest)
        tables = (
            *describe(found.supervoxels, found.sizes, found.labels, place.inner),
            to_rows(found.curve),
        )
        _hand_on(shared, tables)
        written = {
            "labels": self.store.write(self.grid.index3(key), found.labels),
            "residual": self.residuals.write(key, found.residual, found.regions, found.faces),
        }
        info = Info(
            n=n,
            files=files_info(written),
            rows=found.residual.rows,
            voxels=int(found.sizes[1:].sum()),
            merges=found.merges,
        )
        return segmented(digest, info, digest_of(*tables))


@contextmanager
def _between_processes() -> Iterator[int]:
    """A file in memory that a child has, too: its tables are too large for a pipe of JSON."""
    descriptor = os.memfd_create("tables")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _hand_on(descriptor: int, tables: Tables) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        for column in (column for table in tables for column in table):
            np.save(file, column, allow_pickle=False)


def _take(descriptor: int) -> Tables:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        rows, shapes, curve = (
            kind._make(np.load(file, allow_pickle=False) for _ in kind._fields) for kind in _KINDS
        )
    return rows, shapes, curve  # type: ignore[return-value]  # each of its kind
