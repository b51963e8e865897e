"""What `segment` knows beyond one threshold: supervoxels, and the merges that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.exact.fixed_point import SCORE_BITS, least_score
from magneton_tasks.kernels.exact.rounds.records import tops
from magneton_tasks.kernels.union_find import number_roots, renumber

UInt32 = NDArray[np.uint32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MergeTree:
    """Supervoxels of an array, and what merges them at which mean affinity.

    Supervoxel k was merged into the set of supervoxel ``up[k]``, at the mean affinity
    ``affinity[k]``. Affinities fall along the way up, so the objects at a threshold are what the
    merges at or above it join: `cut`.

    Attributes
    ----------
    supervoxels
        uint32 (z, y, x): 1..n; 0: background. No threshold changes them.
    voxels
        int64 (n + 1,): of each supervoxel; index 0 stands for the background in these and in the
        next two.
    up
        uint32 (n + 1,): itself where it wasn't merged into another.
    score
        uint32 (n + 1,): mean affinity of that merge in fixed point, 255 * 2^24 for 1; 0: none.
    lowest_threshold
        What was merged down to: the lowest threshold of a `cut`.
    threshold
        That of the labels which `segment` returned with the tree.
    """

    supervoxels: UInt32
    voxels: Int64
    up: UInt32
    score: UInt32
    lowest_threshold: float
    threshold: float

    @property
    def affinity(self) -> NDArray[np.float64]:
        """float64 (n + 1,): ``score`` in [0, 1]."""
        found: NDArray[np.float64] = self.score / (255 * (1 << SCORE_BITS))
        return found

    def objects(self, threshold: float) -> UInt32:
        """The object of each supervoxel at a threshold, without looking at a voxel.

        Returns
        -------
        uint32 (n + 1,)
            1, 2, ... in the order of the objects' first supervoxels; 0 of the background.

        Raises
        ------
        ValueError
            The threshold isn't in [``lowest_threshold``, 1].
        """
        check_threshold(threshold)
        if threshold < self.lowest_threshold:
            raise ValueError(
                f"threshold {threshold:g} lies below {self.lowest_threshold:g}, which was merged down to\n"
                "  what to do: segment again, with lowest_threshold at or below it"
            )
        least = least_score(float(threshold))
        roots = tops(self.up, self.score, least, np.arange(self.up.size))
        numbers, _, _ = number_roots(roots.astype(np.uint32), np.zeros(roots.size, np.bool_))
        return numbers


def cut(tree: MergeTree, threshold: float) -> UInt32:
    """Labels at another threshold: what `segment` gives for it, in a fraction of its time.

    Takes 4 bytes per voxel, which are the labels.

    Parameters
    ----------
    tree
        As of ``segment(..., return_tree=True)``; it stays as it is.
    threshold
        As of `segment`.

    Returns
    -------
    uint32 (z, y, x)
        Objects 1, 2, ...; 0: background.

    Raises
    ------
    ValueError
        The threshold isn't in [``tree.lowest_threshold``, 1].
    """
    numbers = tree.objects(threshold)
    labels = tree.supervoxels.copy()
    renumber(labels.reshape(-1), numbers)
    return labels


def check_threshold(threshold: float, name: str = "threshold") -> None:
    """Raise ValueError if it isn't an affinity."""
    if not 0 <= threshold <= 1:  # NaN isn't either
        raise ValueError(
            f"{name} is {threshold}\n"
            "  what to do: give an affinity in [0, 1]: regions merge while their mean affinity is at "
            "least this, so that less merges more (waterz counts the other way: 1 - threshold)"
        )
