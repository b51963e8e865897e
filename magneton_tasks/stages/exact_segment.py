"""Stage segment of the exact method: affinities of a core and one plane more -> labels and what stays open.

Blocks of a batch are neighbours (`work.job.Job.keys`) and are worked from the last to the first (with offset_sign 1 the other way):
the plane beyond a block's high face is then mostly the low plane of one that was read before, and
hardly any chunk is decoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np

from magneton_tasks.base.grid import Grid
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.exact_reader import ExactReader
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.overlap.segment import BadAffinityError, label_sizes
from magneton_tasks.stages.child import made_in_child
from magneton_tasks.stages.exact import place_of, rows_of
from magneton_tasks.stages.loop import Begin, say
from magneton_tasks.stages.segment import SegmentStage, no_foreground, segmented
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest, open_affinity, open_mask
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import residual_store

#: for warming up: a block with a neighbour
_TWO_BLOCKS = Grid(((0, 2, 4), (0, 2), (0, 2)))


class ExactSegmentStage(SegmentStage):
    """Segments blocks one by one, each in a forked child; this process reads."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self.residuals = residual_store(attempt, 0)
        self.exact = exact_settings(attempt.config, attempt.plan.threshold.value)

    @cached_property
    def reader(self) -> ExactReader:
        affinity = open_affinity(self.attempt.config)
        mask = open_mask(self.attempt.config, affinity.info)
        return ExactReader(affinity, mask, self.grid.box)

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            self.store.create()
            self._warm()
        limit = self.attempt.memory_limit("segment")
        for key in self.reader.in_order(keys) if keys else ():
            log = self.attempt.paths.block_log("segment", key)
            begin(key)
            try:
                yield key, made_in_child(partial(self.work, key, *self._read(key)), log, limit)
            except Exception as error:
                yield key, error
        if keys:
            needed, decoded = self.reader.needed_bytes, self.reader.decoded_bytes
            say(
                f"segment: decoded {decoded:,} bytes of chunks for {needed:,} needed ({decoded / max(needed, 1):.2f})"
            )

    def _warm(self) -> None:
        """Open the volumes and load the compiled code once, before the children fork."""
        _ = self.reader
        affinity = np.full((3, 2, 2, 2), 128, np.uint8)
        planes = (affinity[0, 0], affinity[1, 0], affinity[2, 0])
        found = segment_block_exact(affinity, planes, place_of(_TWO_BLOCKS, 0), self.exact)
        label_sizes(found.labels, (slice(0, 2),) * 3, found.n_labels)

    def _read(self, key: int) -> tuple[Any, Any]:
        core = self.grid.core(key)
        try:
            return self.reader.read(core)
        except BadAffinityError as error:
            raise error.placed(core.begin, f"block {key}: ") from None
        except BadDataError as error:
            raise BadDataError(f"block {key} (core {core}): {error.what}", error.hint) from None

    def work(self, key: int, affinity: Any, high: Any) -> Outcome:
        """Segment a block, store labels, sizes and what stays open; in the child."""
        digest = input_digest(self.attempt, key)
        found = segment_block_exact(affinity, high, place_of(self.grid, key), self.exact)
        n = found.n_labels
        if n == 0:
            return no_foreground(digest)
        sizes = label_sizes(found.labels, tuple(map(slice, found.labels.shape)), n).core  # type: ignore[arg-type]
        at = self.grid.index3(key)
        written = {
            "labels": self.store.write(at, found.labels),
            "residual": self.residuals.write_block(key, found.residual, found.faces, sizes),
        }
        info = Info(n=n, files=files_info(written), rows=rows_of(found.residual))
        return segmented(digest, info)
