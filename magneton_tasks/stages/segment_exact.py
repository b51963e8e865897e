"""Stage segment of the exact method: affinities of a core and one plane more -> labels and what stays open.

Blocks of a batch are neighbours (`work.job.Job.keys`) and are worked from the last to the first (with offset_sign 1 the other way):
the plane beyond a block's high face is then mostly the low plane of one that was read before, and
hardly any chunk is decoded twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.grid import Grid
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.exact_reader import ExactReader, Planes
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.stages.child import each_in_child
from magneton_tasks.stages.loop import Batch, Begin, say
from magneton_tasks.stages.segmented import no_foreground, segmented
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest, open_affinity, open_mask
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import label_store, residual_store

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
        self.store, self.residuals = label_store(attempt), residual_store(attempt, 0)
        self.settings = exact_settings(attempt.config, attempt.plan.threshold.value)

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
        yield from each_in_child(self.attempt, "segment", ordered, begin, self._prepare)
        needed, decoded = self.reader.needed_bytes, self.reader.decoded_bytes
        say(
            f"segment: decoded {decoded:,} bytes of chunks for {needed:,} needed ({decoded / max(needed, 1):.2f})"
        )

    def _warm(self) -> None:
        """Open the volumes and load the compiled code once, before the children fork."""
        _ = self.reader
        affinity = np.full((3, 2, 2, 2), 128, np.uint8)
        planes = (affinity[0, 0], affinity[1, 0], affinity[2, 0])
        found = segment_block_exact(affinity, planes, Place.of(_TWO_BLOCKS, 0), self.settings)
        label_sizes(found.labels, (slice(0, 2),) * 3, found.n_labels)

    def _prepare(self, key: int) -> Callable[[], Outcome]:
        """Read a block; what its child does."""
        core = self.grid.core(key)
        try:
            affinity, high = self.reader.read(core)
        except BadAffinityError as error:
            raise error.placed(core.begin, f"block {key}: ") from None
        except BadDataError as error:
            raise BadDataError(f"block {key} (core {core}): {error.what}", error.hint) from None
        return partial(self.one, key, affinity, high)

    def one(self, key: int, affinity: NDArray[np.uint8], high: Planes) -> Outcome:
        """Segment a block, store labels, sizes and what stays open; in the child."""
        digest = input_digest(self.attempt, key)
        found = segment_block_exact(affinity, high, Place.of(self.grid, key), self.settings)
        if found.n_labels == 0:
            return no_foreground(digest)
        z, y, x = found.labels.shape
        whole = slice(z), slice(y), slice(x)
        sizes = label_sizes(found.labels, whole, found.n_labels).core
        written = {
            "labels": self.store.write(self.grid.index3(key), found.labels),
            "residual": self.residuals.write_block(key, found.residual, found.faces, sizes),
        }
        info = Info(n=found.n_labels, files=files_info(written), rows=found.residual.rows)
        return segmented(digest, info)
