"""Stages join1, join2, ...: join groups of neighbouring blocks, then groups of groups (exact method).

A group reads what its children leave open and the contacts over the faces between them, and writes
what it leaves open itself, and which labels are one object.
"""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.units import human_bytes
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutOfMemoryError, OutputError
from magneton_tasks.kernels.exact.join import join
from magneton_tasks.kernels.exact.residual import (
    Contacts,
    Residual,
    concatenate,
    empty,
    empty_residual,
)
from magneton_tasks.plan import cost_exact
from magneton_tasks.plan.plan import digest as plan_digest
from magneton_tasks.plan.stage_table import JOINS, join_level
from magneton_tasks.stages.child import each_in_child
from magneton_tasks.stages.loop import Batch, Begin, require_memory
from magneton_tasks.work import parquet, tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, Record, files_info
from magneton_tasks.work.stores import residual_store
from magneton_tasks.work.validity import inputs_of, join_inputs

#: A join takes .85 to 1.03 times what follows from its rows: what can't but fail isn't begun.
_LEAST_OF_PROJECTED = 0.8
#: of malloc.h
_M_MMAP_THRESHOLD = -3
#: Each such array is a mapping of its own, of which Linux allows a process 65,530: a join holds
#: some 20 columns of 64 children at most.
_LEAST_GIVEN_BACK_BYTES = 1 << 16


def run(job: Job) -> int:
    """Join one batch of groups of a level; returns the exit code."""
    stage = JoinStage(job.attempt, job.stage, job.keys())
    return Batch(job).run(stage.process, stage.expected)


def _give_back_early() -> None:
    """Let arrays go back to the system as soon as they are freed, for the rest of this process.

    glibc else keeps those of up to 32 MiB for later. Columns of small blocks are smaller than a MiB:
    64 blocks of 128^3 peaked at 1152 MiB where arrays of a MiB went back, and at 809 MiB with these.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LEAST_GIVEN_BACK_BYTES)


class JoinStage:
    """Joins groups one by one, each in a forked child."""

    def __init__(self, attempt: Attempt, stage: str, keys: list[int]) -> None:
        level = join_level(stage)
        assert level is not None
        self.attempt, self.stage, self.level, self.keys = attempt, stage, level, keys
        self.tree = attempt.plan.geometry.join_tree
        self.settings = exact_settings(attempt.config, attempt.plan.threshold.value)
        self._sound = set[Path]()
        self.below, self.store = residual_store(attempt, level - 1), residual_store(attempt, level)

    @cached_property
    def counts(self) -> dict[int, Record]:
        """Counts of the groups' blocks."""
        blocks = {b for key in self.keys for b in self.tree.blocks_of(self.level, key)}
        return self.attempt.require("count", blocks)

    @cached_property
    def children(self) -> dict[int, Record]:
        """Records of what is joined: of blocks, or of groups of the level below."""
        below = {c for key in self.keys for c in self.tree.children(self.level, key)}
        if self.level == 1:
            return self.attempt.require("segment", below)
        return self.attempt.require_joins(self.level - 1, below, self.counts)

    @cached_property
    def inputs(self) -> dict[int, str]:
        """The input digest of each group."""
        return join_inputs(self.tree, self.level, inputs_of(self.counts))

    def expected(self, key: int) -> str:
        return self.inputs[key]

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            _ = self.counts, self.children  # what isn't there is waited for once
            self._warm()
        return each_in_child(self.attempt, self.stage, keys, begin, self._prepare)

    def _prepare(self, key: int) -> Callable[[], Outcome]:
        """Look whether a group can be joined; what its child does."""
        self._check_memory(key)
        self._sum_up(key)
        return partial(self.one, key)

    def _warm(self) -> None:
        """Load the compiled code once, before the children fork."""
        no_blocks = np.zeros(0, np.uint32)
        join([empty_residual()], empty(Contacts), no_blocks, np.zeros(0, np.uint8), self.settings)

    def _check_memory(self, key: int) -> None:
        """Now that the rows are known: refuse what a worker may not take."""
        rows: dict[str, float] = defaultdict(float)
        for child in self.tree.children(self.level, key):
            for table, n in self.children[child].info.get("rows", {}).items():
                rows[table] += n
        for block, axis in self.tree.faces(self.level, key):
            rows["contacts"] += self.counts[block].info["faces"][axis][1]
        least = int(_LEAST_OF_PROJECTED * cost_exact.join_bytes(dict(rows)))
        what = f"join level {self.level} of {int(rows['edges']):,} edges"
        require_memory(self.attempt, self.stage, least, what)
        projected = self.attempt.memory_limit(self.stage)
        if least > projected:
            raise OutOfMemoryError(
                f"{what} may need {human_bytes(least)}, more than was projected ({human_bytes(projected)})"
            )

    def one(self, key: int) -> Outcome:
        """Join a group and store what stays open; in the child."""
        _give_back_early()
        outer = list(self.tree.outer_sides(self.level, key))
        children = [self._residual(c) for c in self.tree.children(self.level, key)]
        contacts = [self._contacts(key)]
        parquet.give_back()
        found = join(
            children,
            contacts.pop(),
            np.array([b for b, _ in outer], np.uint32),
            np.array([s for _, s in outer], np.uint8),
            self.settings,
        )
        written = self.store.write_join(key, found.residual, found.joins)
        info = Info(
            rows=found.residual.rows,
            joins=len(found.joins.block_a),
            files=files_info({"residual": written}),
        )
        summary = f"{info['joins']:,} joins, {info['rows']['regions']:,} regions open"
        return Outcome("done", self.inputs[key], plan_digest(info["files"]), info, summary)

    def _residual(self, child: int) -> Residual:
        record = self.children[child]
        if record.state == "empty":
            return empty_residual()
        stage = JOINS[self.level - 2] if self.level > 1 else "segment"
        again = "it is computed again"
        with self.attempt.invalidating(stage, [child], again, f"{stage} {child}"):
            if record.is_cleaned:
                raise NotVisibleError("its files were removed by `magneton clean`")
            return self.below.read_residual(child, record.files["residual"])

    def _contacts(self, key: int) -> Contacts:
        """Contacts over the faces that this join closes, file by file."""
        found: list[Contacts] = [empty(Contacts)]
        for path, (info, ranges, owners) in sorted(self._contact_files(key).items()):
            with self.attempt.invalidating("count", owners, "these blocks are counted again"):
                parts = tables.iter_rows(
                    path,
                    info,
                    sorted(ranges),
                    "contacts",
                    self.attempt.wait_s,
                    is_sound=path in self._sound,
                )
                found += [Contacts(**columns) for columns in parts]
        return concatenate(found)  # type: ignore[no-any-return]

    def _sum_up(self, key: int) -> None:
        """Many groups read the same files, each in a child: sum them up here, once for all."""
        for path, (info, _, _) in self._contact_files(key).items():
            if path not in self._sound:
                with suppress(CorruptFileError, OutputError):  # the child tells, and invalidates
                    parquet.require_sound(path, info)
                    self._sound.add(path)

    def _contact_files(
        self, key: int
    ) -> dict[Path, tuple[FileInfo, list[tuple[int, int]], set[int]]]:
        """The files of contacts of a group: as recorded, the rows to read, whose they are."""
        ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
        info: dict[str, FileInfo] = {}
        owners: dict[str, set[int]] = defaultdict(set)
        for block, axis in self.tree.faces(self.level, key):
            record = self.counts[block]
            (row, n), name = record.info["faces"][axis], record.info["file"]
            if n:
                ranges[name].append((row, row + n))
                owners[name].add(block)
                info[name] = record.files["contacts"]
        directory = self.attempt.stage_dir("count")
        return {
            directory / f"contacts-{name}.parquet": (info[name], ranges[name], owners[name])
            for name in ranges
        }
