"""Where an open region goes next: to its best partner, so that in the next round one task has both.

The rule is one that both ends of an edge evaluate alike, or two regions might miss each other for
ever: along best partners inside the task; where the way leaves it, at a ghost, to where the ghost
is now if that is larger, else where the last region itself is.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.fixed_point import SCORE_BITS, least_key, least_score
from magneton_tasks.kernels.exact.residual import Edges, Mask, UInt32
from magneton_tasks.kernels.exact.rounds.tables import MUST, Int64

_CERTAIN, _SMALL, _BY_MEAN, _NEVER = 3, 2, 1, 0


def send(
    own: int, edges: Edges, at: UInt32, sizes: Int64, names: Int64, settings: ExactSettings
) -> None:
    """Move open sets to where their partners are: ``at`` (n + 1,), **written to** for own roots.

    Parameters
    ----------
    own
        Sets 1..own are own, the others ghosts.
    edges
        Between open sets, at least one end own; **both directions**, ``u`` own.
    sizes, names
        int64 (n + 1,), of sets, read at roots.
    """
    if not edges.u.size:
        return
    best = _best_partners(edges, sizes, names, settings)
    u, v = edges.u[best].astype(np.int64), edges.v[best].astype(np.int64)
    # The largest of those that must become one waits for the others.
    waits = (edges.key[best] >= MUST) & ~_larger(sizes, names, v, u)
    following = np.full(sizes.size, -1, np.int64)
    following[u[~waits]] = v[~waits]
    _follow(following, own, at, sizes, names)


def _best_partners(edges: Edges, sizes: Int64, names: Int64, settings: ExactSettings) -> Int64:
    """The row of the best edge of each ``u`` that has one that could ever merge."""
    u, v = edges.u, edges.v
    score = (edges.sum << SCORE_BITS) // edges.count
    is_small = np.minimum(sizes[u], sizes[v]) < settings.s2 if settings.s2 > 1 else u < 0
    kind = np.where(
        edges.key >= MUST,
        _CERTAIN,
        np.where(
            (edges.key > least_key(settings.t_size)) & is_small,
            _SMALL,
            np.where(score >= least_score(settings.threshold), _BY_MEAN, _NEVER),
        ),
    )
    first = np.where(kind == _CERTAIN, sizes[v], np.where(kind == _SMALL, edges.key, score))
    second = np.where(kind == _CERTAIN, -names[v], np.where(kind == _SMALL, 0, -edges.last))
    order = np.lexsort((second, first, kind, u))
    last = order[np.append(u[order][1:] != u[order][:-1], True)]
    best: Int64 = last[kind[last] != _NEVER]
    return best


def _larger(sizes: Int64, names: Int64, a: Int64, b: Int64) -> Mask:
    larger: Mask = (sizes[a] > sizes[b]) | ((sizes[a] == sizes[b]) & (names[a] < names[b]))
    return larger


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
            larger = sizes[next_] > sizes[top] or (
                sizes[next_] == sizes[top] and names[next_] < names[top]
            )
            if larger:
                to = at[next_]
        elif next_ >= 0:
            to = at[next_]  # known already, or a pair: where one of them is
        for k in range(steps):
            at[way[k]] = to
