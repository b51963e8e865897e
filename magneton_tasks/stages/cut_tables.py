"""The tables that cut wrote, as apply reads them: supervoxel -> global id, block by block."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.stages.cut import CUT, ObjectIds
from magneton_tasks.stages.planning.group_work import rounds_dir
from magneton_tasks.stages.slicing import SliceReader
from magneton_tasks.work import round_plan
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record


class CutTables:
    """The global ids of some blocks; all their groups must have a valid record of cut.

    Parameters
    ----------
    pool
        Its record.
    """

    def __init__(self, attempt: Attempt, pool: Record, blocks: Iterable[int]) -> None:
        plans = round_plan.chain(rounds_dir(attempt), pool.info["plan"], attempt.wait_s)
        self._groups = plans[0].groups
        records = attempt.require("cut", {self._groups.group_of(block) for block in blocks})
        self._reader = SliceReader(attempt, "cut", records, attempt.stage_dir("cut"))

    def global_ids(self, block: int) -> NDArray[np.uint64]:
        """Of the supervoxels 1, 2, ..., uint64 (n,)."""
        (table,) = self._reader.read(
            CUT, (ObjectIds,), [self._groups.group_of(block)], sources=lambda _: (block,)
        )
        ids: NDArray[np.uint64] = table.id
        return ids
