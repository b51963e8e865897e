"""What proves that nothing got lost between blocks and objects: counts in records that must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.rounds import faces_of
from magneton_tasks.work import round_chain
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import Chain

#: Findings that are listed.
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Records:
    """All records that pool counts; of each round those of its groups."""

    blocks: dict[int, Record]
    faces: dict[int, Record]
    rounds: list[dict[int, Record]]


def require(attempt: Attempt, chain: Chain) -> Records:
    """The records of blocks, faces and rounds, which agree.

    Raises
    ------
    BadDataError
        They don't: a slice, a group or a face got lost.
    """
    every = range(len(attempt.plan.geometry.grid))
    found = Records(
        attempt.require("segment", every),
        attempt.require("faces", every),
        [
            attempt.require(f"round{step.plan.round}", set(round_chain.groups_of(step.plan)))
            for step in chain.steps
        ],
    )
    problems = list(differences(found, chain))
    if problems:
        more = "; ".join(problems[:_LISTED])
        raise BadDataError(
            f"blocks and rounds don't agree: {more}",
            "rerun with --restart: this shouldn't happen, so please report it",
        )
    return found


def differences(found: Records, chain: Chain) -> Iterator[str]:
    """What doesn't agree: what, where."""
    if not chain.steps:
        return
    first = chain.steps[0].plan
    for group, record in found.rounds[0].items():
        blocks = first.groups.blocks_of(group)
        open_ = sum(found.blocks[b].info.get("rows", {}).get("regions", 0) for b in blocks)
        if record.info["n"] != open_:
            yield (
                f"round 0, group {group}: its blocks leave {open_:,} regions open, "
                f"and it had {record.info['n']:,}"
            )
        touching = sum(
            1
            for block, axis in faces_of(first.blocks, blocks)
            if _touches(found, first.blocks, block, axis)
        )
        if record.info["faces"] != touching:
            yield (
                f"round 0, group {group}: its blocks have {touching:,} faces with labels on both "
                f"sides, and it read {record.info['faces']:,}"
            )
    for number in range(1, len(found.rounds)):
        yield from _sent_is_read(number, found.rounds[number - 1], found.rounds[number])
    left = sum(record.info["sends"] for record in found.rounds[-1].values())
    if left:
        yield f"round {len(found.rounds) - 1} is the last one, and sends {left:,} regions"


def _touches(found: Records, shape: tuple[int, int, int], block: int, axis: int) -> bool:
    behind = block + (shape[1] * shape[2], shape[2], 1)[axis]
    return bool(found.blocks[block].info["n"] and found.blocks[behind].info["n"])


def _sent_is_read(number: int, before: dict[int, Record], now: dict[int, Record]) -> Iterator[str]:
    """Whether what a round sent to each fine group is what the next one read of it."""
    sent, read = _summed(before, "sent"), _summed(now, "read")
    for fine in sorted(sent.keys() | read.keys(), key=int):
        if sent.get(fine) != read.get(fine):
            yield (
                f"round {number}: (regions, half-edges) for fine group {fine}: "
                f"{sent.get(fine)} were sent, {read.get(fine)} were read"
            )


def _summed(records: dict[int, Record], what: str) -> dict[str, tuple[int, int]]:
    total: dict[str, tuple[int, int]] = {}
    for record in records.values():
        told = record.info["sent"] if what == "sent" else record.info.get("read", {})
        for fine, (nodes, half) in told.items():
            known = total.get(fine, (0, 0))
            total[fine] = known[0] + nodes, known[1] + half
    return total
