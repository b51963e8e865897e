"""A share of a mapped stage, and which blocks, groups or cells it holds.

Of several thresholds each has its own batches after the rounds: those of one follow those of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from magneton_tasks.base.grid import items, share, z_ordered
from magneton_tasks.plan.stage_table import AFTER_POOL
from magneton_tasks.work.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Job:
    """A share of a stage: one batch, or one part of one; the whole of a stage that isn't mapped.

    Attributes
    ----------
    attempt
        Where there are several thresholds: at the one that the batch is of.
    first
        Number of the first batch at that threshold.
    check
        Called before each block; raises once the lease is lost.
    """

    attempt: Attempt
    stage: str
    batch: int = 0
    part: tuple[int, int] | None = None
    check: Callable[[], None] = lambda: None
    first: int = 0

    @classmethod
    def of_batch(
        cls,
        attempt: Attempt,
        stage: str,
        batch: int,
        part: tuple[int, int] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Job:
        """A batch of an attempt, or a part of it, at whichever threshold that is."""
        if not attempt.plan.cuts or stage not in AFTER_POOL:
            return cls(attempt, stage, batch, part, check)
        first = 0
        for each in attempt.each():
            n = each.work_of(stage).batches
            if batch < first + n:
                return cls(each, stage, batch, part, check, first)
            first += n
        return cls(attempt.at(-1), stage, batch, part, check, first)  # holds nothing

    def keys(self) -> list[int]:
        """Blocks, groups or cells of this share: ascending, or (segment, exact) neighbours together."""
        stage_plan = self.attempt.work_of(self.stage)
        number = self.batch - self.first
        if not 0 <= number < stage_plan.batches:
            return []
        begin, end = stage_plan.batch(number)
        if self.part is not None:
            low, high = share(end - begin, *self.part)
            begin, end = begin + low, begin + high
        geometry = self.attempt.plan.geometry
        if geometry.is_in_space(self.stage):
            return z_ordered(stage_plan.todo, geometry.grid.shape)[begin:end]
        return list(items(stage_plan.todo, begin, end))
