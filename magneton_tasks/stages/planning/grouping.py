"""How a round cuts the blocks into groups: as few as the rows that a task may hold allow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from magneton_tasks.base.grid import Cuts
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.stages.planning.group_rows import Int64, RowsOf

#: How much longer groups may be along one axis than along one that is cut, in fine groups: the longer
#: they are, the more of what they read leads out of them.
_LONGEST = 2.0
#: Of all ways to make up to this much more groups, so many are tried.
_STEP, _TRIED = 1.02, 8


def fewest_groups(base: Groups, rows_of: RowsOf, budget: int) -> Groups:
    """The fewest groups of at most ``budget`` rows, each a box of those of ``base``.

    Along each axis all have about as many rows. They needn't be made of whole groups of the round
    before: what that left open lies along its cuts, and meets its partners where this round's lie
    elsewhere. On 512 blocks of 32^3 of mouse cortex and a budget of 60,000 rows, all rounds took 17 CPU
    s so, and 26 where groups doubled from round to round; they read 15 and 19 x 10^6 rows.

    Parameters
    ----------
    base
        The smallest groups that may be made.
    rows_of
        Rows of the groups that blocks are cut into.
    budget
        Rows that a task may hold. Where one of ``base`` alone has more, others may have as many.
    """
    whole = _cut(base, [np.zeros(n, np.int64) for n in base.shape], (1, 1, 1))
    total = int(rows_of(whole).sum())
    if total <= budget or len(base) == 1:
        return whole
    alone = rows_of(base)
    limit = max(budget, int(alone.max()))
    weights = [alone.sum(tuple({0, 1, 2} - {axis})) for axis in range(3)]
    for parts in _ways(base, total / limit):
        groups = _cut(base, weights, parts)
        if rows_of(groups).max() <= limit:
            return groups
    return base


def _ways(base: Groups, least: float) -> Iterator[tuple[int, int, int]]:
    """How many groups there may be along each axis; the fewest, and the least long, first."""
    parts = np.indices(base.shape).reshape(3, -1) + 1
    made = parts.prod(0)
    length = np.array(base.shape)[:, None] / parts
    longest = length.max(0) / np.where(parts > 1, length, np.inf).min(0)
    order = np.lexsort((longest, made))
    may = (made >= least) & (made > 1) & (longest <= max(_LONGEST, longest[made > 1].min()))
    upto, tried = 0.0, 0
    for way in order[may[order]]:
        if made[way] > upto:
            upto, tried = made[way] * _STEP, 0
        tried += 1
        if tried <= _TRIED:
            z, y, x = parts[:, way].tolist()
            yield z, y, x


def _cut(base: Groups, weights: list[Int64], parts: tuple[int, int, int]) -> Groups:
    z, y, x = (
        _cuts(cuts, of_axis, n) for cuts, of_axis, n in zip(base.cuts, weights, parts, strict=True)
    )
    return Groups((z, y, x))


def _cuts(among: Cuts, weights: Int64, parts: int) -> Cuts:
    """Some of the cuts, between which the weights are about equal."""
    before = np.concatenate([[0], np.cumsum(weights)])
    found = [0]
    for part in range(1, parts):
        at = int(np.abs(before - before[-1] * part / parts).argmin())
        found.append(min(max(at, found[-1] + 1), weights.size - parts + part))
    return tuple(among[i] for i in (*found, weights.size))
