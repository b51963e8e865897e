"""What pooling made: counts and the largest objects, for the report and its warning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.kernels.compiled.jit import njit

#: How many of the largest objects a report lists.
REPORTED_OBJECTS = 20
#: Size classes of a histogram: sizes are uint64.
_CLASSES = 64

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class LargeObject:
    """One of the largest objects of the volume."""

    global_id: int
    voxels: int
    labels: int
    blocks: int


@dataclass(frozen=True)
class SizeHistogram:
    """How many objects there are of each size; class k holds those of 2^k to 2^(k+1) - 1 voxels.

    Both tuples are as long as the largest object needs.
    """

    #: objects of each class
    objects: tuple[int, ...]
    #: voxels that the objects of each class have together
    voxels: tuple[int, ...]


@dataclass(frozen=True)
class PoolReport:
    """Counts of a pool; an object counts where it has voxels in a core."""

    labels: int
    joins: int
    #: objects that are in the volume: with voxels, not left out
    objects: int
    #: objects with voxels that min_size_vox left out; None: not known yet, they count as the others
    left_out: int | None
    #: voxels of the objects that are in the volume
    foreground_vox: int
    #: largest first; ties: the smaller global id
    largest: tuple[LargeObject, ...]
    #: share of the largest object in the foreground, and in all voxels of the volume
    largest_of_foreground: float
    largest_of_volume: float
    sizes: SizeHistogram


def size_histogram(sizes: npt.NDArray[np.uint64]) -> SizeHistogram:
    """Objects and voxels by size class; those of size 0 count nowhere.

    Parameters
    ----------
    sizes
        uint64 (objects,): voxels of each object.
    """
    objects, voxels = np.zeros((2, _CLASSES), np.uint64)
    _count_sizes(sizes, objects, voxels)
    used = int(np.flatnonzero(objects).max(initial=-1)) + 1
    return SizeHistogram(tuple(objects[:used].tolist()), tuple(voxels[:used].tolist()))


def largest_objects(
    ids: npt.NDArray[np.uint64],
    sizes: npt.NDArray[np.uint64],
    objects: Integers,
    offsets: npt.NDArray[np.int64],
) -> tuple[LargeObject, ...]:
    """The `REPORTED_OBJECTS` largest, largest first; those of size 0 are never listed.

    Parameters
    ----------
    ids, sizes
        uint64 (objects,): global id and voxels of each object.
    objects
        (labels,): object number of each member, block by block.
    offsets
        int64 (blocks + 1,): first member of each block.
    """
    top = np.full(REPORTED_OBJECTS, -1, np.int64)
    count = _largest(sizes, top)
    top = top[:count]
    rank = np.full(len(sizes), -1, np.int8)
    rank[top] = np.arange(count)
    labels, blocks = np.zeros((2, count), np.int64)
    _count_members(objects, offsets, rank, labels, blocks)
    return tuple(
        LargeObject(int(ids[i]), int(sizes[i]), int(labels[k]), int(blocks[k]))
        for k, i in enumerate(top)
    )


@njit(nogil=True)
def _count_sizes(sizes: Any, objects: Any, voxels: Any) -> None:
    for size in sizes:
        if size == 0:
            continue
        k, rest = 0, size >> np.uint64(1)
        while rest:
            rest >>= np.uint64(1)
            k += 1
        objects[k] += np.uint64(1)
        voxels[k] += size


@njit(nogil=True)
def _largest(sizes: Any, top: Any) -> Any:
    """Fill ``top`` with the indices of the largest sizes; how many there are (sizes above 0)."""
    count = 0
    for i in range(len(sizes)):
        if sizes[i] == 0 or (count == len(top) and sizes[i] <= sizes[top[count - 1]]):
            continue
        at = count if count < len(top) else count - 1
        while at > 0 and sizes[top[at - 1]] < sizes[i]:
            top[at] = top[at - 1]
            at -= 1
        top[at] = i
        count = min(count + 1, len(top))
    return count


@njit(nogil=True)
def _count_members(objects: Any, offsets: Any, rank: Any, labels: Any, blocks: Any) -> None:
    """Number of labels, and of blocks, of each ranked object."""
    seen = np.full(len(labels), -1, np.int64)  # the last block an object was seen in
    for block in range(len(offsets) - 1):
        for i in range(offsets[block], offsets[block + 1]):
            k = rank[objects[i]]
            if k >= 0:
                labels[k] += 1
                if seen[k] != block:
                    seen[k] = block
                    blocks[k] += 1
