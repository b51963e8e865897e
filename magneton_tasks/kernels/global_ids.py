"""From joined labels to global ids: a streaming union-find in bounded memory.

All labels of all blocks are numbered through: the *member* of label l of block k is
``offset[k] + l - 1``. `Pooling` keeps one parent a member, always a smaller or the same member,
and unites by the smaller root (with path halving). So the root of an object is its smallest
member, whatever the order in which joins arrive, and its global id follows from it alone::

    (block index of the root + 1) << 32 | label of the root

`Pooling.finish` turns the parents in place into object numbers (one ascending pass: a parent is
done before its children), and hands over to `Pool`, which knows ids and sizes.

Memory: ``BYTES_PER_LABEL`` = 4 a label (8 from 2^32 - 1 labels on) + ``BYTES_PER_OBJECT`` = 16
an object + 9 a block. 10^9 labels of which a third are objects of their own: 4 + 5.3 = 9.3 GB; at
worst, no join at all, 20 GB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.errors import BadDataError, ConfigError, MagnetonError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.pool_report import PoolReport, largest_objects, size_histogram

#: Bump when the same pairs (and rule: see overlap/pool_rules.py) give other ids; guarded by the golden test.
KERNEL_VERSION = versions.POOLING

#: Most labels for which parents are uint32; int64 above.
MAX_UINT32_LABELS = 2**32 - 2
BYTES_PER_LABEL = 4
#: a global id and a size, uint64 each
BYTES_PER_OBJECT = 16

Integers = npt.NDArray[Any]


class Pooling:
    """Joins labels; see the module's docstring.

    Parameters
    ----------
    labels_per_block
        int64 (blocks,): the number of labels of each block, 0 for empty ones.

    Raises
    ------
    BadDataError
        For a negative number of labels, or blocks or labels beyond what a global id can hold.
    """

    def __init__(self, labels_per_block: npt.NDArray[np.int64]) -> None:
        counts = np.asarray(labels_per_block, np.int64)
        if len(counts) and (counts.min() < 0 or counts.max() >= 2**32 or len(counts) >= 2**32 - 1):
            raise BadDataError(
                f"{len(counts)} blocks with {counts.min()} to {counts.max()} labels",
                "the numbers of labels are damaged: segment these blocks again",
            )
        self._offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=self._offsets[1:])
        labels = int(self._offsets[-1])
        self._parents: Integers | None = np.arange(
            labels, dtype=np.uint32 if labels <= MAX_UINT32_LABELS else np.int64
        )
        self._joins = 0

    def add(
        self, block_a: Integers, block_b: Integers, label_a: Integers, label_b: Integers
    ) -> None:
        """Join label_a of block_a with label_b of block_b, row by row.

        Parameters
        ----------
        block_a, block_b, label_a, label_b
            unsigned integers (joins,); may be empty. The order, within and between calls, doesn't
            matter, and neither do repetitions.

        Raises
        ------
        BadDataError
            If a block isn't in the grid or a label isn't in 1..n of its block; names both.
        """
        if not len(block_a) == len(block_b) == len(label_a) == len(label_b):
            raise BadDataError("the columns of joins differ in length")
        if self._parents is None:
            raise MagnetonError("joins were added to a pooling that is finished")
        bad = _unite(self._parents, self._offsets, block_a, block_b, label_a, label_b)
        if bad >= 0:
            for block, label in ((block_a, label_a), (block_b, label_b)):
                self._check(int(block[bad]), int(label[bad]))
        self._joins += len(block_a)

    def finish(self) -> Pool:
        """Give every object its number and global id. Nothing can be added afterwards."""
        parents, self._parents = self._parents, None  # they change their meaning below
        if parents is None:
            raise MagnetonError("a pooling was finished twice")
        ids = np.empty(_count_roots(parents), np.uint64)
        _number_objects(parents, self._offsets, ids)
        return Pool(self._offsets, parents, ids, self._joins)

    def _check(self, block: int, label: int) -> None:
        blocks = len(self._offsets) - 1
        if not 0 <= block < blocks:
            raise BadDataError(
                f"a pair names block {block}, but the grid has {blocks} blocks",
                "the pair table belongs to another grid: run count again",
            )
        labels = int(self._offsets[block + 1] - self._offsets[block])
        if not 1 <= label <= labels:
            raise BadDataError(
                f"a pair names label {label} of block {block}, which has {labels} labels",
                "the block was segmented again after count: run count again",
            )


class Pool:
    """Global ids and sizes of the objects; made by `Pooling.finish`."""

    def __init__(
        self,
        offsets: npt.NDArray[np.int64],
        objects: Integers,
        ids: npt.NDArray[np.uint64],
        joins: int,
    ) -> None:
        self._offsets = offsets
        self._objects = objects  # (labels,): number of each member's object
        self._ids = ids  # (objects,), rising until objects are left out
        self._sizes = np.zeros(len(ids), np.uint64)  # core voxels; 0 when left out
        # Blocks without labels have nothing to add.
        self._sized = np.diff(offsets) == 0
        self._joins = joins
        self._left_out = 0

    def add_sizes(self, block: int, core_sizes: Integers) -> None:
        """Add the core voxels of each label of a block; once for each block that has labels.

        Parameters
        ----------
        block
            Block index.
        core_sizes
            unsigned integers (n,): voxels of labels 1..n inside the block's core.

        Raises
        ------
        BadDataError
            If there aren't as many sizes as labels.
        """
        members = self._members(block)
        if len(core_sizes) != len(members):
            raise BadDataError(
                f"block {block} has {len(members)} labels, but {len(core_sizes)} core sizes",
                "segment this block again",
            )
        if self._sized[block] and len(members):
            raise MagnetonError(f"the core sizes of block {block} were added twice")
        self._sized[block] = True
        _add_sizes(self._sizes, members, core_sizes)

    def leave_out(self, min_size_vox: int) -> None:
        """Give global id 0 to objects with fewer core voxels, over all blocks, than that."""
        if min_size_vox < 0:
            raise ConfigError(f"segment.min_size_vox is {min_size_vox}", "set it to 0 or more")
        self._require_sizes()
        small = (self._sizes < np.uint64(min_size_vox)) & (self._ids != 0)
        self._left_out += int(np.count_nonzero(self._sizes[small]))
        self._ids[small] = 0
        self._sizes[small] = 0

    def global_ids(self, block: int) -> npt.NDArray[np.uint64]:
        """Global ids of labels 1..n of a block, uint64 (n,); 0 where the object is left out."""
        return self._ids[self._members(block)]

    def numbers(self, block: int) -> npt.NDArray[np.uint64]:
        """As `global_ids`, but numbers from 1 on, not above that of objects."""
        members = self._members(block).astype(np.uint64)
        return np.where(self.global_ids(block) > 0, members + np.uint64(1), np.uint64(0))

    def report(self, volume_vox: int) -> PoolReport:
        """Count the objects and list the largest; ``volume_vox``: voxels of the whole volume."""
        self._require_sizes()
        foreground = int(self._sizes.sum())
        largest = largest_objects(self._ids, self._sizes, self._objects, self._offsets)
        voxels = largest[0].voxels if largest else 0
        return PoolReport(
            labels=len(self._objects),
            joins=self._joins,
            objects=int(np.count_nonzero(self._sizes)),
            left_out=self._left_out,
            foreground_vox=foreground,
            largest=largest,
            largest_of_foreground=voxels / foreground if foreground else 0.0,
            largest_of_volume=voxels / volume_vox if volume_vox else 0.0,
            sizes=size_histogram(self._sizes),
        )

    def _members(self, block: int) -> Integers:
        if not 0 <= block < len(self._sized):
            raise MagnetonError(f"there is no block {block} among {len(self._sized)}")
        members: Integers = self._objects[self._offsets[block] : self._offsets[block + 1]]
        return members

    def _require_sizes(self) -> None:
        if not self._sized.all():
            block = int(np.flatnonzero(~self._sized)[0])
            raise MagnetonError(f"the core sizes of block {block} are missing")


@njit(nogil=True)
def _root(parents: Any, i: Any) -> Any:
    """Root of member i, with path halving."""
    parent = np.int64(parents[i])
    while parent != i:
        above = np.int64(parents[parent])
        parents[i] = above
        i = above
        parent = np.int64(parents[i])
    return i


@njit(nogil=True)
def _unite(
    parents: Any, offsets: Any, block_a: Any, block_b: Any, label_a: Any, label_b: Any
) -> int:
    """Unite all rows; the index of the first row that names no member, or -1."""
    n_blocks = len(offsets) - 1
    for i in range(len(block_a)):
        ka, kb = np.int64(block_a[i]), np.int64(block_b[i])
        if ka < 0 or ka >= n_blocks or kb < 0 or kb >= n_blocks:
            return i
        la, lb = np.int64(label_a[i]), np.int64(label_b[i])
        a, b = offsets[ka] + la - 1, offsets[kb] + lb - 1
        if la < 1 or a >= offsets[ka + 1] or lb < 1 or b >= offsets[kb + 1]:
            return i
        a, b = _root(parents, a), _root(parents, b)
        if a < b:
            parents[b] = a
        elif b < a:
            parents[a] = b
    return -1


@njit(nogil=True)
def _count_roots(parents: Any) -> int:
    roots = 0
    for i in range(len(parents)):
        if parents[i] == i:
            roots += 1
    return roots


@njit(nogil=True)
def _number_objects(parents: Any, offsets: Any, ids: Any) -> None:
    """Replace each parent by the number of its object (by rising root), and fill the ids.

    A parent is never larger than its child, so it has been replaced by the time the child comes.
    """
    objects = 0
    for block in range(len(offsets) - 1):
        for i in range(offsets[block], offsets[block + 1]):
            if parents[i] == i:
                ids[objects] = np.uint64(block + 1) << np.uint64(32) | np.uint64(
                    i - offsets[block] + 1
                )
                parents[i] = objects
                objects += 1
            else:
                parents[i] = parents[parents[i]]


@njit(nogil=True)
def _add_sizes(sizes: Any, members: Any, core_sizes: Any) -> None:
    for i in range(len(members)):
        sizes[members[i]] += np.uint64(core_sizes[i])
