"""Records of merges: a forest that any higher threshold cuts.

Every region points (``up``) to a region of the set that it was merged into, with the score of that
merge. Scores fall along the way up, because a merge joins whole sets and no later one scores more
(the linkage is reducible). So the object of a region at a threshold is where the way up ends that
takes only merges at or above it: `tops`. Each set is called by its smallest ``least``, so that the
top's is the object's id, whatever merged first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import UInt32
from magneton_tasks.kernels.exact.rounds.tables import NO_SCORE, Int64


class Merges(NamedTuple):
    """Merges by mean affinity, in descending order of scores; a set is named by its root then."""

    gone: UInt32
    kept: UInt32
    scores: UInt32
    """`edge_heap.score`."""


class Forest(NamedTuple):
    """The record of n regions; index 0 stands for none."""

    up: UInt32
    """(n + 1,): itself where it has not been merged into another; never one merged without a score."""
    score: UInt32
    """(n + 1,): of that merge."""
    sizes_gone: Int64
    sizes_kept: Int64
    """(merges,): voxels of both sides of each merge; first those without a score."""
    unscored: int
    """Merges without a score."""
    inversions: int
    """Merges that score more than one inside them: always 0, or the linkage is broken."""


def record(united: UInt32, merges: Merges, least: Int64, sizes: Int64, low: UInt32) -> Forest:
    """Record what merged.

    Parameters
    ----------
    united
        uint32 (n + 1,): roots of the sets that were made without a score, which come first.
    merges
        What followed; roots are those of ``united``.
    least, sizes, low
        (n + 1,): of each region by itself.
    """
    return Forest(*_record(united, *merges, least, sizes.copy(), low.copy()))


@njit(nogil=True)
def _record(
    united: UInt32,
    gone: UInt32,
    kept: UInt32,
    scores: UInt32,
    least: Int64,
    size: Int64,
    low: UInt32,
) -> tuple[UInt32, UInt32, Int64, Int64, int, int]:
    """``size`` and ``low`` are written to: those of a root become its set's."""
    n = united.size
    up = np.arange(n).astype(np.uint32)
    score = np.zeros(n, np.uint32)
    head = np.arange(n).astype(np.uint32)  # of a root: the region with the set's least
    sizes_gone = np.empty(n + gone.size, np.int64)
    sizes_kept = np.empty(n + gone.size, np.int64)
    found = 0
    inversions = 0
    for i in range(1, n):
        root = united[i]
        if root == i:
            continue
        inversions += low[i] != NO_SCORE or low[root] != NO_SCORE
        sizes_gone[found] = size[i]
        sizes_kept[found] = size[root]
        found += 1
        size[root] += size[i]
        _point(up, score, head, least, i, root, NO_SCORE)
    unscored = found
    for i in range(1, n):
        if score[i] == NO_SCORE:
            up[i] = head[united[i]]
    for k in range(gone.size):
        a = gone[k]
        b = kept[k]
        inversions += scores[k] > low[a] or scores[k] > low[b]
        sizes_gone[found] = size[a]
        sizes_kept[found] = size[b]
        found += 1
        size[b] += size[a]
        low[b] = scores[k]
        _point(up, score, head, least, a, b, scores[k])
    return up, score, sizes_gone[:found], sizes_kept[:found], unscored, inversions


@njit(nogil=True)
def _point(
    up: UInt32, score: UInt32, head: UInt32, least: Int64, gone: int, kept: int, merge_score: int
) -> None:
    """Of the two sets' heads the one with the larger ``least`` points to the other."""
    x = head[gone]
    y = head[kept]
    if least[x] < least[y]:
        x, y = y, x
    up[x] = y
    score[x] = merge_score
    head[kept] = y


@njit(nogil=True)
def tops(up: UInt32, score: UInt32, least_score: int, rows: Int64) -> Int64:
    """Where the way up from each row ends, if it takes only merges of ``least_score`` and more."""
    found = np.empty(rows.size, np.int64)
    for k in range(rows.size):
        row = rows[k]
        while up[row] != row and score[row] >= least_score:
            row = np.int64(up[row])
        found[k] = row
    return found
