"""The rounds of a volume as its records have them: which are planned, which groups are done, what follows.

Each round's plan is found by the digest of the records that it was made from, so the chain is
walked from round 0: where a record is missing, or another than it was, what follows isn't known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base.grid import items, ranges_len
from magneton_tasks.plan.plan import digest
from magneton_tasks.plan.stage_table import ROUND_SLOTS
from magneton_tasks.work import round_plan
from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.round_plan import RoundPlan

#: What a record of a group has that sends nothing on, as compact JSON.
SENDS_NOTHING = '"sends":0'
#: What it has as long as its names are there.
_NAMES = '"names":['


@dataclass(frozen=True, slots=True)
class Step:
    """A round that is planned.

    Attributes
    ----------
    done
        Groups whose records count.
    stale
        Groups whose records are of another plan.
    freed
        Those done of which `clean` has removed what they sent.
    nameless
        Those of which it has removed the names, too.
    """

    plan: RoundPlan
    done: frozenset[int]
    stale: frozenset[int]
    freed: frozenset[int] = frozenset()
    nameless: frozenset[int] = frozenset()

    @property
    def is_done(self) -> bool:
        return len(self.done) == ranges_len(self.plan.todo)

    def left(self, *, reads_sent: bool) -> list[int]:
        """Groups that are still to do, ascending; ``reads_sent``: a round has to be done that reads it."""
        done = self.done - self.freed if reads_sent else self.done
        return [group for group in groups_of(self.plan) if group not in done]


@dataclass(frozen=True, slots=True)
class Chain:
    """What is known of the rounds.

    Attributes
    ----------
    steps
        From round 0, as far as rounds are planned.
    next_read
        Digest of the records that the next round's plan is made from; None: they aren't complete,
        or no round follows.
    end
        Digest of all that pool is made of; None: the rounds aren't complete.
    """

    steps: tuple[Step, ...]
    next_read: str | None
    end: str | None

    @property
    def has_names(self) -> bool:
        """Whether all that is done can be cut: `clean` has removed no names."""
        return not any(step.nameless for step in self.steps)

    @property
    def may_go_on(self) -> bool:
        """Whether it isn't known yet that no round follows on those that are planned."""
        return self.end is None and not (self.steps and self.steps[-1].plan.closes_all)

    @property
    def before(self) -> str:
        """Digest of the last plan there is, as the next one has it."""
        return self.steps[-1].plan.digest if self.steps else ""


#: What the manifest of a round knows.
Records = Callable[[int], Mapping[int, KeyState]]


def look(
    rounds: Path,
    start: str | None,
    records: Records,
    accepts: Callable[[int, KeyState], bool],
) -> Chain:
    """Walk the chain.

    Parameters
    ----------
    rounds
        ``rounds-<fingerprint>``.
    start
        `first_read`; None: blocks or faces aren't complete.
    accepts
        Whether the run takes a valid record of a round.
    """
    steps: list[Step] = []
    read, before = start, ""
    while read is not None:
        plan = round_plan.take_over(rounds, len(steps), read, before)
        if plan is None:
            return Chain(tuple(steps), read, None)
        found = records(len(steps))
        valid = {k: s for k, s in found.items() if s.is_valid and accepts(len(steps), s)}
        step = _step(plan, valid)
        steps.append(step)
        if not step.is_done:
            break
        read, before = next_read(plan, valid), plan.digest
        if all(valid[group].holds(SENDS_NOTHING) for group in step.done):
            return Chain(tuple(steps), None, digest("rounds", read))
    return Chain(tuple(steps), None, None)


def _step(plan: RoundPlan, valid: Mapping[int, KeyState]) -> Step:
    done: set[int] = set()
    stale: set[int] = set()
    for group in groups_of(plan):
        if group in valid:
            same = valid[group].digests[0] == group_input(plan, group)
            (done if same else stale).add(group)
    freed = frozenset(group for group in done if valid[group].is_cleaned)
    nameless = frozenset(group for group in freed if not valid[group].holds(_NAMES))
    return Step(plan, frozenset(done), frozenset(stale), freed, nameless)


def groups_of(plan: RoundPlan) -> list[int]:
    """The groups of a round that have something to do, ascending."""
    return list(items(plan.todo, 0, ranges_len(plan.todo)))


def first_read(labels: Mapping[int, str], faces: Mapping[int, str]) -> str:
    """What round 0 is made from: the output digests of all blocks and of their faces."""
    return digest("round 0", [labels[k] for k in sorted(labels)], [faces[k] for k in sorted(faces)])


def next_read(plan: RoundPlan, records: Mapping[int, KeyState]) -> str:
    """What the round after is made from: the output digests of all groups of this one."""
    return digest(plan.digest, [records[group].digests[1] for group in groups_of(plan)])


def group_input(plan: RoundPlan, group: int) -> str:
    """The input digest of a group's record: by its plan that of all records that went into it."""
    return digest(plan.digest, group)


def stage_of(number: int) -> str:
    """The stage whose slot a round runs in."""
    return f"round{min(number, ROUND_SLOTS - 1)}"
