"""How much the labels of two blocks overlap where their read boxes intersect.

One pass over the intersection: runs of equal (a, b) are counted at once, each run is added to
the two labels' counts and, where neither is background, to a hash table of label pairs. Memory
beyond the input: 4 bytes a label of either block, and 24 to 48 bytes a distinct pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.compiled.jit import njit

#: Bump when the same input gives other counts; guarded by the golden test.
KERNEL_VERSION = versions.OVERLAP

#: Slots of the hash table at the start (a power of two); it doubles whenever it is half full.
FIRST_SLOTS = 1024

UInt32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The label pairs of one block pair, sorted by (label_a, label_b); all columns uint32 (pairs,)."""

    label_a: UInt32
    label_b: UInt32
    #: voxels that the two labels share
    n: UInt32
    #: voxels of the label inside the intersection of the two read boxes
    a_in: UInt32
    b_in: UInt32
    #: voxels of the label in the whole read box of its block
    a_all: UInt32
    b_all: UInt32

    def __len__(self) -> int:
        return len(self.n)


def count_overlaps(
    a: UInt32, b: UInt32, sizes_a: npt.NDArray[Any], sizes_b: npt.NDArray[Any]
) -> Pairs:
    """Count the voxels shared by each label of block a with each label of block b.

    Parameters
    ----------
    a, b
        uint32 (z, y, x), of one shape: the two blocks' labels in the intersection of their read
        boxes; 0 is background and pairs with nothing, but ``a_in`` and ``b_in`` also count the
        voxels where the other block has background.
    sizes_a, sizes_b
        unsigned integers (n_a,), (n_b,): the voxels of label ``i + 1`` in its block's whole read box.

    Raises
    ------
    BadDataError
        If the shapes differ, a label is beyond its sizes, or a label has more voxels in the
        intersection than in its whole block.
    """
    _check_arrays(a, b)
    in_a = np.zeros(len(sizes_a) + 1, np.uint32)
    in_b = np.zeros(len(sizes_b) + 1, np.uint32)
    bad, keys, counts = _count(
        np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1), in_a, in_b
    )
    if bad >= 0:
        where = np.unravel_index(bad, a.shape)
        raise BadDataError(
            f"labels {int(a[where])} and {int(b[where])} at voxel {tuple(map(int, where))} of the "
            f"intersection, but the blocks have {len(sizes_a)} and {len(sizes_b)} labels",
            "the labels don't belong to these sizes: segment the two blocks again",
        )
    _check_sizes("first", in_a, sizes_a)
    _check_sizes("second", in_b, sizes_b)
    order = np.argsort(keys)
    label_a = (keys[order] >> np.uint64(32)).astype(np.uint32)
    label_b = keys[order].astype(np.uint32)  # the lower half
    return Pairs(
        label_a=label_a,
        label_b=label_b,
        n=counts[order],
        a_in=in_a[label_a],
        b_in=in_b[label_b],
        a_all=sizes_a[label_a - 1].astype(np.uint32),
        b_all=sizes_b[label_b - 1].astype(np.uint32),
    )


def _check_arrays(a: UInt32, b: UInt32) -> None:
    if a.shape != b.shape or a.ndim != 3:
        raise BadDataError(f"the labels of the intersection have shapes {a.shape} and {b.shape}")
    if a.dtype != np.uint32 or b.dtype != np.uint32:
        raise BadDataError(f"labels must be uint32, not {a.dtype} and {b.dtype}")
    if a.size >= 2**32:
        raise BadDataError(
            f"an intersection of {a.size} voxels doesn't fit 32-bit counts", "use smaller blocks"
        )


def _check_sizes(which: str, inside: UInt32, sizes: npt.NDArray[Any]) -> None:
    wrong = np.flatnonzero(inside[1:] > sizes)
    if len(wrong):
        i = int(wrong[0])
        raise BadDataError(
            f"label {i + 1} of the {which} block has {int(inside[i + 1])} voxels in the "
            f"intersection but {int(sizes[i])} in its whole read box",
            "the sizes don't belong to these labels: segment the two blocks again",
        )


@njit(nogil=True)
def _slot(keys: Any, key: Any) -> Any:
    """Slot that holds ``key``, or the free one for it: Fibonacci hashing, linear probing."""
    mask = np.uint64(len(keys) - 1)
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    at = (mixed ^ (mixed >> np.uint64(32))) & mask
    while keys[at] != 0 and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return at


@njit(nogil=True)
def _doubled(keys: Any, counts: Any) -> Any:
    more_keys = np.zeros(2 * len(keys), np.uint64)
    more_counts = np.zeros(2 * len(keys), np.uint32)
    for i in range(len(keys)):
        if keys[i] != 0:
            at = _slot(more_keys, keys[i])
            more_keys[at] = keys[i]
            more_counts[at] = counts[i]
    return more_keys, more_counts


@njit(nogil=True)
def _count(a: Any, b: Any, in_a: Any, in_b: Any) -> Any:
    """(flat index of a voxel whose label is out of range or -1, distinct keys, their counts).

    A key is label_a << 32 | label_b, never 0 as both are above 0: 0 marks a free slot.
    """
    keys = np.zeros(FIRST_SLOTS, np.uint64)
    counts = np.zeros(FIRST_SLOTS, np.uint32)
    used = 0
    i = 0
    while i < len(a):
        la, lb = a[i], b[i]
        if la >= len(in_a) or lb >= len(in_b):
            return i, keys[:0], counts[:0]
        start = i
        i += 1
        while i < len(a) and a[i] == la and b[i] == lb:
            i += 1
        run = np.uint32(i - start)
        in_a[la] += run
        in_b[lb] += run
        if la == 0 or lb == 0:
            continue
        key = np.uint64(la) << np.uint64(32) | np.uint64(lb)
        at = _slot(keys, key)
        if keys[at] == 0:
            keys[at] = key
            used += 1
        counts[at] += run
        if 2 * used > len(keys):
            keys, counts = _doubled(keys, counts)
    taken = keys != 0
    return -1, keys[taken], counts[taken]
