"""Ids of one cell agree between segmentations of a box: so do its colours in a viewer.

A segmentation takes over the ids of those beside it, by overlap::

    at .5:   1 1 1 2 2 3 3 3        at .4:   its own ids   1 1 1 1 1 2 2 2
                                             taken over    1 1 1 1 1 3 3 3
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.kernels.evaluate import ContingencyTable, Rows

UInt64 = NDArray[np.uint64]
#: Voxels that are counted at a time, at some 30 B each.
_COUNTED_VOX = 1 << 20


def ids_of(
    labels: NDArray[np.uint32],
    count: int,
    beside: Iterable[Callable[[Box], UInt64]],
    slab: Vec3,
    taken: int,
) -> UInt64:
    """The id of each label from 0 to ``count``; labels are (z, y, x).

    Parameters
    ----------
    beside
        Of each segmentation beside it, the one that is most like it first: what reads its ids, of a
        box that counts from the labels' first voxel.
    slab
        Shape of what is read at a time.
    taken
        Ids up to here stand for other cells.
    """
    ids = np.zeros(count + 1, np.uint64)
    for read in beside:
        ids = matched(_shared(labels, read, slab), ids)
        if ids[1:].all():
            break
    new = np.flatnonzero(ids[1:] == 0) + 1
    ids[new] = taken + 1 + np.arange(len(new), dtype=np.uint64)
    return ids


def _shared(labels: NDArray[np.uint32], read: Callable[[Box], UInt64], slab: Vec3) -> Rows:
    table = ContingencyTable()
    step = max(_COUNTED_VOX // max(labels[0].size, 1), 1)
    for part in Box.of_shape(vec3(labels.shape)).tiles(slab):
        theirs, ours = read(part), labels[part.slices()]
        for z in range(0, len(ours), step):
            table.add(theirs[z : z + step], ours[z : z + step])
    return table.rows()


def matched(rows: Rows, ids: UInt64) -> UInt64:
    """Ids of labels, with those of the cells beside them where there were none (0).

    Of two labels that share with the same cell, the one that shares more has its id.

    Parameters
    ----------
    rows
        (id beside, label, voxels shared).
    """
    found, used = ids.copy(), set(ids.tolist())
    shared = [(int(i), int(k), int(n)) for i, k, n in zip(*rows, strict=True) if i and k]
    for theirs, label, _ in sorted(shared, key=lambda row: (-row[2], row[1], row[0])):
        if not found[label] and theirs not in used:
            found[label] = theirs
            used.add(theirs)
    return found
