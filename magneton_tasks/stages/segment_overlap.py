"""Stage segment of the overlap method: affinities of a block's read box -> dense labels and their sizes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial

from magneton_tasks.config.settings import segment_settings
from magneton_tasks.errors import BadDataError
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.mask import MaskReader
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.segment import segment_block, warm_up
from magneton_tasks.stages.child import each_in_child
from magneton_tasks.stages.loop import Batch, Begin
from magneton_tasks.stages.segmented import no_foreground, segmented
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.inputs import input_digest, open_affinity, open_mask
from magneton_tasks.work.job import Job
from magneton_tasks.work.record import Info, Outcome, files_info
from magneton_tasks.work.stores import label_store


def run(job: Job) -> int:
    """Segment one batch of blocks; returns the exit code."""
    stage = OverlapSegmentStage(job.attempt)
    return Batch(job).run(stage.process, partial(input_digest, job.attempt))


class OverlapSegmentStage:
    """Segments blocks one by one, each in a forked child, which reads what it needs."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.store = label_store(attempt)
        self.settings = segment_settings(attempt.config, attempt.plan.threshold.number)

    @cached_property
    def affinity(self) -> AffinityReader:
        return open_affinity(self.attempt.config)

    @cached_property
    def mask(self) -> MaskReader | None:
        return open_mask(self.attempt.config, self.affinity.info)

    def process(self, keys: list[int], begin: Begin) -> Iterator[tuple[int, Outcome | Exception]]:
        if keys:
            self.store.create()
            self._warm()
        return each_in_child(
            self.attempt, "segment", keys, begin, lambda key: partial(self.one, key)
        )

    def _warm(self) -> None:
        """Open the volumes and load compiled code once, before the children fork."""
        _ = self.affinity, self.mask
        warm_up(self.settings.supervoxels)

    def one(self, key: int) -> Outcome:
        """Segment a block and store its labels; in the child."""
        box = self.grid.read(key)
        digest = input_digest(self.attempt, key)
        affinity = self.affinity.read(box)
        mask = None if self.mask is None else self.mask.read(box)
        try:
            labels, n = segment_block(affinity, self.settings, mask)
        except BadAffinityError as error:
            raise error.placed(box.begin, f"block {key}: ") from None
        except BadDataError as error:
            raise BadDataError(f"block {key} (read box {box}): {error.what}", error.hint) from None
        del affinity
        if n == 0:
            return no_foreground(digest)
        sizes = label_sizes(labels, self.grid.core(key).slices(box.begin), n)
        at = self.grid.index3(key)
        written = {
            "labels": self.store.write(at, labels),
            "sizes": self.store.write_sizes(at, sizes.core, sizes.read),
        }
        return segmented(digest, Info(n=n, files=files_info(written)))
