"""How many voxels each object of a volume has, box after box."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
Counts = NDArray[np.int64]
#: Rows that wait before they are summed up.
_WAITING = 1 << 20


class Census:
    """Objects and their voxels; holds 16 bytes of each object, and what waits.

    Parameters
    ----------
    mip
        Where voxels are counted.
    """

    def __init__(self, mip: int) -> None:
        self.mip = mip
        self._ids, self._voxels = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._waiting: list[tuple[Ids, Counts]] = []
        self._rows = 0

    def add(self, labels: NDArray[Any]) -> None:
        """Count the voxels of a box; 0 is no object."""
        flat = labels.reshape(-1)
        starts = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]][: flat.size])
        runs = np.diff(np.r_[starts, flat.size])
        self._waiting.append(_summed(flat[starts].astype(np.uint64), runs))
        self._rows += len(self._waiting[-1][0])
        if self._rows > _WAITING + len(self._ids):
            self._sum_up()

    def objects(self) -> tuple[Ids, Counts]:
        """Ids, ascending, and voxels of all objects so far."""
        self._sum_up()
        return self._ids, self._voxels

    def _sum_up(self) -> None:
        columns = zip((self._ids, self._voxels), *self._waiting, strict=True)
        ids, voxels = (np.concatenate(column) for column in columns)
        self._ids, self._voxels = _summed(ids, voxels)
        self._waiting, self._rows = [], 0


def _summed(ids: Ids, voxels: Counts) -> tuple[Ids, Counts]:
    order = np.argsort(ids, kind="stable")
    ids, voxels = ids[order], voxels[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: ids.size])
    if not starts.size:
        return ids, voxels
    sums = np.add.reduceat(voxels, starts)
    own = ids[starts] != 0
    return ids[starts][own], sums[own]
