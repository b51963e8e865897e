"""A share of a mapped stage, and which blocks, groups or cells it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from magneton_tasks.base.grid import items, share, z_ordered
from magneton_tasks.work.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Job:
    """A share of a stage: one batch, or one part of one; the whole of a stage that isn't mapped."""

    attempt: Attempt
    stage: str
    batch: int = 0
    part: tuple[int, int] | None = None
    #: called before each block; raises once the lease is lost
    check: Callable[[], None] = lambda: None

    def keys(self) -> list[int]:
        """Blocks, groups or cells of this share: ascending, or (segment, exact) neighbours together."""
        stage_plan = self.attempt.work_of(self.stage)
        if not 0 <= self.batch < stage_plan.batches:
            return []
        begin, end = stage_plan.batch(self.batch)
        if self.part is not None:
            low, high = share(end - begin, *self.part)
            begin, end = begin + low, begin + high
        geometry = self.attempt.plan.geometry
        if geometry.is_in_space(self.stage):
            return z_ordered(stage_plan.todo, geometry.grid.shape)[begin:end]
        return list(items(stage_plan.todo, begin, end))
