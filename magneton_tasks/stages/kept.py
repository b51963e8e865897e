"""Cells of the output that hold already what they are to hold: of another pool table or threshold, say."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from magneton_tasks.base.files import stat_size
from magneton_tasks.base.location import locate
from magneton_tasks.plan.stage_table import facts
from magneton_tasks.stages.claims import claim
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.cell_objects import has_table
from magneton_tasks.work.packed_records import PackedRecords
from magneton_tasks.work.pieces import PIECES, path_of
from magneton_tasks.work.record import Info, Outcome, Record
from magneton_tasks.work.validity import holds_same, is_settled


class KeptCells:
    """What cells of a stage that writes hold, where that is known."""

    def __init__(self, attempt: Attempt, stage: str, keys: Collection[int]) -> None:
        self.attempt, self.stage, self.keys = attempt, stage, set(keys)
        self._is_claimed = False

    @cached_property
    def before(self) -> PackedRecords:
        """Their records; to be read before the first cell is begun."""
        states = self.attempt.manifest(self.stage).read(self.keys)
        for key in list(states):
            is_known = is_settled(self.stage, states[key])
            if not is_known or not self.attempt.accepts(self.stage, states[key].valid):
                del states[key]
        return PackedRecords.of(states)

    def _is_whole(self, key: int, before: Record) -> bool:
        """Whether what a cell leaves is there: all that cells leave now, and of objects the files."""
        if self.stage == "apply":
            return has_table(before)
        section = facts(self.stage).section
        if section is None:
            return True
        if facts(self.stage).writes:
            return self._has_outputs(before)
        told = before.files.get(PIECES)
        if before.is_cleaned or told is None:
            return not before.is_cleaned
        return stat_size(path_of(self.attempt, section, key)) == told.size

    def _has_outputs(self, before: Record) -> bool:
        """Whether the files below the output are there; those in a bucket aren't looked at."""
        location = locate(self.attempt.config.paths.output)
        told = before.info.get("outputs", {}).items()
        return location.path is None or all(
            stat_size(location.path / name) == size for name, (size, _) in told
        )

    def outcome(self, key: int, cell_input: str, pool: str | None) -> Outcome | None:
        """What becomes of a cell that stays as it is; None: it has to be written.

        Parameters
        ----------
        cell_input
            Digest of what it would be made of.
        pool
            What it would be made with, see `validity.pool_key`.
        """
        before = self.before.get(key)
        if before is None or not holds_same(before, cell_input) or not self._is_whole(key, before):
            return None
        if not self._is_claimed:
            claim(self.attempt)
            self._is_claimed = True
        info = before.info | Info(pool=pool)
        return Outcome("done", cell_input, info=info, summary="unchanged")
