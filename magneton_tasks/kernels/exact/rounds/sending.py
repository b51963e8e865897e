"""Where an open region goes next: to its best partner, so that in the next round one task has both.

The rule is one that both ends of an edge evaluate alike, or two regions might miss each other for
ever: along best partners inside the task; where the way leaves it, at a ghost, to where the ghost
is now if that is larger, else where the last region itself is.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.edge_heap import score
from magneton_tasks.kernels.exact.fixed_point import least_key, least_score
from magneton_tasks.kernels.exact.residual import Edges, UInt32
from magneton_tasks.kernels.exact.rounds.tables import MUST, Int64

_CERTAIN, _SMALL, _BY_MEAN = 3, 2, 1


def send(
    own: int, edges: Edges, at: UInt32, sizes: Int64, names: Int64, settings: ExactSettings
) -> None:
    """Move open sets to where their partners are: ``at`` (n + 1,), **written to** for own roots.

    Parameters
    ----------
    own
        Sets 1..own are own, the others ghosts.
    edges
        Between open sets, each pair once, at least one end own.
    sizes, names
        int64 (n + 1,), of sets, read at roots.
    """
    if not edges.u.size:
        return
    following = _best_partners(
        own,
        edges.u,
        edges.v,
        edges.sum,
        edges.count,
        edges.last,
        edges.key,
        sizes,
        names,
        settings.s2 if settings.s2 > 1 else 0,
        least_key(settings.t_size),
        least_score(settings.threshold),
    )
    _follow(following, own, at, sizes, names)


@njit(nogil=True)
def _best_partners(
    own: int,
    u: UInt32,
    v: UInt32,
    sum_: Int64,
    count: Int64,
    last: Int64,
    key: Int64,
    sizes: Int64,
    names: Int64,
    s2: int,
    least_key: int,
    least_score: int,
) -> Int64:
    """int64 (own + 1,): the best partner of each set; -1: none, or it waits for its partners."""
    following = np.full(own + 1, -1, np.int64)
    best = np.zeros((own + 1, 3), np.int64)  # kind, and what decides among those of one kind
    for k in range(u.size):
        mean = score(sum_[k], count[k])
        smaller = min(sizes[u[k]], sizes[v[k]])
        kind = _CERTAIN if key[k] >= MUST else _BY_MEAN if mean >= least_score else 0
        if kind != _CERTAIN and key[k] > least_key and smaller < s2:
            kind = _SMALL
        if kind == 0:
            continue
        for here, there in ((np.int64(u[k]), np.int64(v[k])), (np.int64(v[k]), np.int64(u[k]))):
            if here > own:
                continue
            first, second = np.int64(mean), -last[k]
            if kind == _CERTAIN:
                first, second = sizes[there], -names[there]
            elif kind == _SMALL:
                first, second = key[k], np.int64(0)
            if _is_better(best[here], kind, first, second):
                best[here, 0], best[here, 1], best[here, 2] = kind, first, second
                following[here] = there
    for top in range(1, own + 1):
        # The largest of those that must become one waits for the others.
        if best[top, 0] == _CERTAIN and not _is_larger(sizes, names, following[top], top):
            following[top] = -1
    return following


@njit(nogil=True)
def _is_better(best: Int64, kind: int, first: np.int64, second: np.int64) -> bool:
    if kind != best[0]:
        return bool(kind > best[0])
    return bool(first > best[1] or (first == best[1] and second > best[2]))


@njit(nogil=True)
def _is_larger(sizes: Int64, names: Int64, a: int, b: int) -> bool:
    return bool(sizes[a] > sizes[b] or (sizes[a] == sizes[b] and names[a] < names[b]))


@njit(nogil=True)
def _follow(following: Int64, own: int, at: UInt32, sizes: Int64, names: Int64) -> None:
    """Follow partners from each set, and give all sets on the way where it leads."""
    done = np.zeros(own + 1, np.bool_)
    way = np.empty(own + 1, np.int64)
    for start in range(1, own + 1):
        steps = 0
        here = start
        while here <= own and not done[here]:
            done[here] = True
            way[steps] = here
            steps += 1
            if following[here] < 0:
                break
            here = following[here]
        if steps == 0:
            continue
        top = way[steps - 1]
        next_ = following[top]
        to = at[top]
        if next_ > own:
            if _is_larger(sizes, names, next_, top):
                to = at[next_]
        elif next_ >= 0:
            to = at[next_]  # known already, or a pair: where one of them is
        for k in range(steps):
            at[way[k]] = to
