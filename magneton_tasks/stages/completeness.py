"""What proves that nothing got lost between blocks and objects: counts in records that must agree."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from magneton_tasks.errors import BadDataError
from magneton_tasks.plan.rounds import Face, faces_of
from magneton_tasks.work import round_counts
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Info, Record
from magneton_tasks.work.round_chain import Chain
from magneton_tasks.work.round_plan import RoundPlan

K = TypeVar("K")
V = TypeVar("V")

#: Findings that are listed.
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Records:
    """All records that pool counts; of each round those of its groups."""

    blocks: Mapping[int, Record]
    """Ascending, as the others."""
    faces: Mapping[int, Record]
    rounds: Sequence[Mapping[int, Record]]


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


class _Computed(Mapping[K, V]):
    """Values that are computed when they are asked for: of a million blocks they aren't held."""

    def __init__(self, keys: Collection[K], of: Callable[[K], V]) -> None:
        self._keys, self._of = keys, of

    def __getitem__(self, key: K) -> V:
        return self._of(key)

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def _by_block(records: Mapping[int, Record], count: Callable[[Info], int]) -> Mapping[int, int]:
    """A count of each block."""
    counts = array("q", (count(record.info) for record in records.values()))
    return _Computed(range(len(counts)), counts.__getitem__)


def differences(found: Records, chain: Chain) -> Iterator[str]:
    """What doesn't agree between blocks, faces and rounds: what, where."""
    first = chain.steps[0].plan
    groups = first.groups
    opens = _by_block(found.blocks, lambda info: info.get("rows", {}).get("regions", 0))
    begun = found.rounds[0]
    yield from round_counts.regions_begun(
        _Computed(range(len(groups)), groups.blocks_of),
        opens,
        {k: r.info["n"] for k, r in begun.items()},
    )
    labels = _by_block(found.blocks, lambda info: info["n"])
    yield from round_counts.faces_read(
        _Computed(begun, lambda group: _faces(labels, first, groups.blocks_of(group))),
        _contacts(found.faces),
        {k: (r.info["faces"], r.info["rows"]["contacts"]) for k, r in begun.items()},
    )
    for number, (before, now) in enumerate(pairwise(found.rounds), 1):
        yield from round_counts.sent_is_read(
            number,
            (record.info["sent"] for record in before.values()),
            (record.info["read"] for record in now.values()),
        )
    last = found.rounds[-1]
    sent = _Computed(last, lambda group: last[group].info["sent"])
    yield from round_counts.none_is_sent(len(found.rounds) - 1, sent)


def _contacts(faces: Mapping[int, Record]) -> Mapping[Face, int]:
    """Of each face that was worked."""
    keys, counts = array("q"), array("q")
    for block, record in faces.items():
        for axis, count in record.info.get("contacts", {}).items():
            keys.append(3 * block + int(axis))
            counts.append(count)

    def of(face: Face) -> int:
        block, axis = face
        at = bisect_left(keys, 3 * block + axis)
        if at == len(keys) or keys[at] != 3 * block + axis:
            raise KeyError(face)
        return counts[at]

    return _Computed((), of)


def _faces(labels: Mapping[int, int], first: RoundPlan, blocks: list[int]) -> list[Face]:
    """Faces of these blocks with labels on either side."""
    shape = first.groups.blocks
    step = (shape[1] * shape[2], shape[2], 1)
    return [
        (block, axis)
        for block, axis in faces_of(shape, blocks)
        if labels[block] or labels[block + step[axis]]
    ]


def cut_differences(
    found: Records, plan: RoundPlan, cuts: Mapping[int, Record], pool: Record, threshold: float
) -> Iterator[str]:
    """What doesn't agree between blocks, pool and cut; ``plan``: of round 0."""
    groups = plan.groups
    yield from round_counts.blocks_cut(
        "supervoxels",
        _by_block(found.blocks, lambda info: info["n"]),
        _Computed(cuts, lambda group: (groups.blocks_of(group), cuts[group].info["n"])),
    )
    yield from round_counts.blocks_cut(
        "voxels",
        _by_block(found.blocks, lambda info: info.get("voxels", 0)),
        _Computed(cuts, lambda group: (groups.blocks_of(group), cuts[group].info["voxels"])),
    )
    supervoxels = sum(record.info["n"] for record in found.blocks.values())
    objects = supervoxels - sum(record.info["joins"] for record in cuts.values())
    fewest, most = pool.info["merged"]
    yield from round_counts.objects_made(supervoxels, (fewest, most), objects, threshold)
