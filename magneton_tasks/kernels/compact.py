"""Ids of a box as small numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def of_runs(ids: NDArray[np.uint64], out: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Write the place of each voxel's id among the ids of the array; returns these, ascending.

    Runs of one id count as one: sorted are their ids alone.

    Parameters
    ----------
    ids
        (z, y, x), C order.
    out
        Of the same shape, C order.
    """
    flat = ids.reshape(-1)
    begins = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))[: flat.size]
    found, places = np.unique(flat[begins], return_inverse=True)
    lengths = np.diff(begins, append=flat.size)
    out.reshape(-1)[:] = np.repeat(places.astype(np.uint32), lengths)
    return found


def renumber(
    numbers: NDArray[np.uint32], slabs: list[tuple[slice, NDArray[np.uint64]]]
) -> NDArray[np.uint64]:
    """Numbers of slabs along z, each among its own ids -> 0 for id 0, else place among all ids + 1.

    Parameters
    ----------
    numbers
        (z, y, x); changed in place.
    slabs
        Where each lies, and its ids, as `of_runs` returns them.

    Returns
    -------
    NDArray[np.uint64]
        All ids but 0, ascending.
    """
    parts = [ids for _, ids in slabs]
    everything = np.unique(np.concatenate([np.zeros(1, np.uint64), *parts]))
    for where, ids in slabs:
        numbers[where] = np.searchsorted(everything, ids).astype(np.uint32)[numbers[where]]
    return everything[1:]
