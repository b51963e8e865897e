"""The plan of one round: a file in the round's folder, made once by whoever comes first.

::

    rounds-<fingerprint>/<round>/plan-<digest of the records that it was made from>.json

All attempts take over a plan while the records are those that it was made from, whatever their
memory, workers or runner. Other records make a plan with another name beside it. Its digest is
part of the digests of its round's records, and each plan names that of the round before, so what a
task reads and writes is found through (plan, group) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Ranges
from magneton_tasks.plan.rounds import Groups


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """How a round cuts the blocks into groups, and what for.

    Attributes
    ----------
    round
        From 0.
    blocks
        Blocks per axis, zyx.
    span
        Blocks per axis of a group of this round.
    fine_span
        Blocks per axis of a fine group: what the round sends is in slices by these.
    todo
        Groups that have something to do, as half-open ranges.
    budget
        Rows that a task may hold, of who made the plan.
    most_rows, all_rows
        Rows that the largest group, and all groups, read.
    read
        Digest of the records that it was made from.
    before
        `digest` of the plan of the round before; "" in round 0.
    """

    round: int
    blocks: Vec3
    span: Vec3
    fine_span: Vec3
    todo: Ranges
    budget: int
    most_rows: int
    all_rows: int
    read: str
    before: str = ""

    @property
    def digest(self) -> str:
        """Of everything in it: part of its round's records' digests."""
        raise NotImplementedError

    @property
    def groups(self) -> Groups:
        return Groups(self.blocks, self.span)

    @property
    def fine(self) -> Groups:
        return Groups(self.blocks, self.fine_span)

    @property
    def closes_all(self) -> bool:
        """Whether no round follows for certain: one group has no ghosts."""
        raise NotImplementedError


def take_over(rounds: Path, number: int, read: str, before: str) -> RoundPlan | None:
    """The plan of a round that was made from these records; None: there is none yet."""
    raise NotImplementedError


def make(rounds: Path, plan: RoundPlan) -> RoundPlan:
    """Write a plan, unless one from the same records is there; returns the one that holds.

    Of two at once one wins, and both get the winner's.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    raise NotImplementedError


def chain(rounds: Path, last: str | None = None) -> list[RoundPlan]:
    """The plans of all rounds that are planned, from round 0.

    Parameters
    ----------
    rounds
        ``rounds-<fingerprint>``.
    last
        `RoundPlan.digest` of the last one, as pool's record has it; None: those that were made or
        taken over last.
    """
    raise NotImplementedError
