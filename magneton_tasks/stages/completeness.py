"""What proves that nothing got lost between blocks and objects: counts in records that must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.rounds import Face, faces_of
from magneton_tasks.work import round_counts
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.round_chain import Chain
from magneton_tasks.work.round_plan import RoundPlan

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
        [attempt.require_round(step.plan) for step in chain.steps],
    )
    problems = list(differences(found, chain))
    if problems:
        more = "; ".join(problems[:_LISTED])
        raise BadDataError(
            f"blocks and rounds don't agree: {more}",
            round_counts.HINT,
        )
    return found


def differences(found: Records, chain: Chain) -> Iterator[str]:
    """What doesn't agree between blocks, faces and rounds: what, where."""
    first = chain.steps[0].plan
    groups = first.groups
    blocks_of = {group: groups.blocks_of(group) for group in range(len(groups))}
    opens = {k: r.info.get("rows", {}).get("regions", 0) for k, r in found.blocks.items()}
    begun = found.rounds[0]
    yield from round_counts.regions_begun(
        blocks_of, opens, {k: r.info["n"] for k, r in begun.items()}
    )
    there = {
        (block, int(axis)): n
        for block, record in found.faces.items()
        for axis, n in record.info.get("contacts", {}).items()
    }
    yield from round_counts.faces_read(
        {group: _faces(found, first, blocks_of[group]) for group in begun},
        there,
        {k: (r.info["faces"], r.info["rows"]["contacts"]) for k, r in begun.items()},
    )
    for number, (before, now) in enumerate(pairwise(found.rounds), 1):
        yield from round_counts.sent_is_read(
            number,
            [record.info["sent"] for record in before.values()],
            [record.info["read"] for record in now.values()],
        )
    last = {k: r.info["sent"] for k, r in found.rounds[-1].items()}
    yield from round_counts.none_is_sent(len(found.rounds) - 1, last)


def _faces(found: Records, first: RoundPlan, blocks: list[int]) -> list[Face]:
    """Faces of these blocks with labels on either side."""
    shape = first.groups.blocks
    step = (shape[1] * shape[2], shape[2], 1)
    return [
        (block, axis)
        for block, axis in faces_of(shape, blocks)
        if found.blocks[block].info["n"] or found.blocks[block + step[axis]].info["n"]
    ]


def cut_differences(
    found: Records, plan: RoundPlan, cuts: Mapping[int, Record], pool: Record, threshold: float
) -> Iterator[str]:
    """What doesn't agree between blocks, pool and cut; ``plan``: of round 0."""
    groups = plan.groups
    yield from round_counts.blocks_cut(
        "supervoxels",
        {k: r.info["n"] for k, r in found.blocks.items()},
        {k: (groups.blocks_of(k), r.info["n"]) for k, r in cuts.items()},
    )
    yield from round_counts.blocks_cut(
        "voxels",
        {k: r.info.get("voxels", 0) for k, r in found.blocks.items()},
        {k: (groups.blocks_of(k), r.info["voxels"]) for k, r in cuts.items()},
    )
    supervoxels = sum(record.info["n"] for record in found.blocks.values())
    objects = supervoxels - sum(record.info["joins"] for record in cuts.values())
    fewest, most = pool.info["merged"]
    yield from round_counts.objects_made(supervoxels, (fewest, most), objects, threshold)
