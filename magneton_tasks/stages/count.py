"""Stage count: how the labels of neighbouring blocks share voxels where their read boxes meet.

A block counts with its later neighbours, so each block pair is counted once. The pairs and label
sizes of many blocks go into one file; a block's record says which rows are its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base import files
from magneton_tasks.kernels.overlap.overlap import Pairs, count_overlaps
from magneton_tasks.stages.loop import Batch, Begin
from magneton_tasks.work import tables
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.validity import count_input

#: A file is written when it has this many rows, or after this many seconds: what a kill may cost.
FLUSH_ROWS = 2_000_000
FLUSH_S = 60.0


def run(job: Job) -> int:
    """Count one batch of blocks; returns the exit code."""
    stage = CountStage(job.attempt, job.keys())
    if job.attempt.config.method == "exact":
        from magneton_tasks.stages.exact_count import ExactCountStage

        stage = ExactCountStage(job.attempt, job.keys())
    return Batch(job).run(stage.process, stage.expected)


@dataclass
class Due:
    """When rows that aren't written yet must be."""

    since: float = field(default_factory=time.monotonic)
    rows: int = 0

    @property
    def is_due(self) -> bool:
        return self.rows >= FLUSH_ROWS or time.monotonic() - self.since > FLUSH_S


@dataclass
class _Pending(Due):
    """Counted blocks that aren't written yet."""

    keys: list[int] = field(default_factory=list)
    pairs: list[list[tuple[int, int, Pairs]]] = field(default_factory=list)
    sizes: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]] = field(default_factory=list)


class CountStage:
    """Counts pairs, block by block."""

    def __init__(self, attempt: Attempt, keys: list[int]) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.keys = keys

    @cached_property
    def later(self) -> dict[int, list[int]]:
        return {key: self.grid.later_neighbours(key) for key in self.keys}

    @cached_property
    def blocks(self) -> Blocks:
        return Blocks(self.attempt, {k for key, near in self.later.items() for k in (key, *near)})

    def expected(self, key: int) -> str:
        digests = {k: self.blocks.digest(k) for k in (key, *self.later[key])}
        return count_input(digests, key, self.later[key])

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            _ = self.blocks  # what isn't there is waited for once, not once a block
        pending = _Pending()
        for key in keys:
            begin(key)
            try:
                pairs = list(self.count(key))
                sizes = self.blocks.sizes(key)
            except Exception as error:
                yield key, error
                continue
            pending.keys.append(key)
            pending.pairs.append(pairs)
            pending.sizes.append(sizes)
            pending.rows += sum(len(p) for _, _, p in pairs) + len(sizes[0])
            if pending.is_due:
                yield from self.flush(pending)
                pending = _Pending()
        if pending.keys:
            yield from self.flush(pending)

    def count(self, key: int) -> Iterator[tuple[int, int, Pairs]]:
        """The pairs of a block with each later neighbour."""
        blocks = self.blocks
        if blocks.n_labels(key) == 0:
            return
        near = [k for k in self.later[key] if blocks.n_labels(k)]
        if not near:
            return
        box = self.grid.read(key)
        labels, sizes = blocks.read(key, box), blocks.sizes(key)[1]
        for other in near:
            shared = box.intersection(self.grid.read(other))
            found = count_overlaps(
                labels[shared.slices(box.begin)],
                blocks.read(other, shared),
                sizes,
                blocks.sizes(other)[1],
            )
            if len(found):
                yield key, other, found

    def flush(self, pending: _Pending) -> Iterator[tuple[int, Outcome | Exception]]:
        """Write what is pending, then the records that name it."""
        name = files.unique_suffix()
        directory = self.attempt.stage_dir("count")
        try:
            pairs = tables.write_pairs(
                directory / f"pairs-{name}.parquet",
                tables.pair_columns([p for block in pending.pairs for p in block]),
            )
            sizes = tables.write_label_sizes(
                directory / f"sizes-{name}.parquet",
                [(k, c, r) for k, (c, r) in zip(pending.keys, pending.sizes, strict=True)],
            )
        except Exception as error:
            yield pending.keys[0], error
            return
        pair_row = size_row = 0
        for key, found, (core, _) in zip(pending.keys, pending.pairs, pending.sizes, strict=True):
            n = sum(len(p) for _, _, p in found)
            info = Info(
                n=len(core),
                file=name,
                pairs=[pair_row, n],
                sizes=[size_row, len(core)],
                files=files_info({"pairs": pairs, "sizes": sizes}),
            )
            pair_row, size_row = pair_row + n, size_row + len(core)
            yield key, Outcome("done", self.expected(key), None, info=info, summary=f"{n:,} pairs")
