"""Many thresholds of several overlapping blocks, matched and scored as a run would.

A threshold never cuts what is one segment at a higher one. So each block is agglomerated once, and
its voxels are looked at once, at the highest threshold: what is one segment there is a *cell*. All
that follows is done on cells::

    cells of block a     1  2  3  4  5         voxels shared by cells of a and b: counted once
    label at 0.9         1  2  3  4  5         pairs at each threshold: their sums by label,
    label at 0.7         1  1  2  2  1         matched by the rule, united, and scored
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import Rule, SegmentSettings
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.evaluate import Rows, Scores, add_up, score_rows
from magneton_tasks.kernels.global_ids import Pooling
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.overlap import count_overlaps
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match
from magneton_tasks.kernels.overlap.segment import Float32, Mask, dense_labels, segmentations
from magneton_tasks.kernels.overlap.sweep import counted, descending_thresholds, joined_rows

UInt32 = NDArray[np.uint32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlockCuts:
    """One block at several thresholds.

    Attributes
    ----------
    cells
        uint32 (z, y, x) of the read box: 1..n, the labels at the highest threshold; 0: background.
    label_of
        For each threshold, from the highest to the lowest, the label of each cell: uint32 (n + 1,).
        The labels are those of `segment.segment_block`; that of 0 is 0.
    """

    cells: UInt32
    label_of: tuple[UInt32, ...]

    @property
    def n_cells(self) -> int:
        return len(self.label_of[0]) - 1


@dataclass(frozen=True, eq=False)
class _CellPairs:
    """What cells of two blocks share where their read boxes meet."""

    a: int
    b: int
    cell_a: UInt32
    cell_b: UInt32
    n: Int64
    #: voxels of each cell in the intersection, by cell
    in_a: Int64
    in_b: Int64


def cut_block(
    affinity: Float32,
    settings: SegmentSettings,
    thresholds: Sequence[float],
    mask: Mask | None = None,
) -> BlockCuts:
    """Segment one block at many thresholds by one agglomeration.

    Parameters
    ----------
    affinity, settings, thresholds, mask
        As `sweep.sweep`.

    Raises
    ------
    BadDataError
        As `sweep.sweep`.
    """
    descending = descending_thresholds(thresholds)
    cells, label_of = np.zeros(affinity.shape[1:], np.uint32), list[UInt32]()
    count = 0
    for segments in segmentations(affinity, settings, descending, mask):
        if segments is None:
            label_of.append(np.zeros(1, np.uint32))
            continue
        flat = segments.reshape(-1)
        if not label_of:
            cells, count = dense_labels(segments, keep=True)
            ids = np.zeros(count + 1, np.uint64)
            _first_ids(flat, cells.reshape(-1), ids)
            # What waterz renames for the next threshold need no longer be voxels: a segment of
            # each cell does, and there are no more cells than voxels.
            flat[:] = 0
            flat[:count] = ids[1:]
        label_of.append(_numbered(flat[:count]))
    return BlockCuts(cells, tuple(label_of))


def score_blocks(
    grid: Grid,
    blocks: Sequence[BlockCuts],
    thresholds: Sequence[float],
    truth: NDArray[np.integer],
    rule: Rule,
    min_size_vox: int = 0,
) -> list[tuple[float, Scores]]:
    """Scores at each threshold of what a run makes of these blocks.

    Parameters
    ----------
    grid
        Of the blocks; the truth's box is all of it.
    blocks
        In the grid's order, cut at ``thresholds``.
    truth
        Ids (z, y, x); 0 isn't scored.
    rule
        What joins labels of two blocks.
    min_size_vox
        Smaller objects are background, as in a run.

    Returns
    -------
    list
        (threshold, scores), from the highest threshold to the lowest.

    Raises
    ------
    BadDataError
        No voxel of the truth is labelled, or it has another shape.
    """
    if truth.shape != grid.box.shape:
        raise BadDataError(
            f"the blocks make the shape {grid.box.shape}, the truth has {truth.shape}"
        )
    pairs = list(_cell_pairs(grid, blocks))
    sizes = [
        label_sizes(b.cells, grid.core(key).slices(grid.read(key).begin), b.n_cells).core
        for key, b in enumerate(blocks)
    ]
    cell, known, n = _cell_rows(grid, blocks, truth)
    found = []
    for k, threshold in enumerate(descending_thresholds(thresholds)):
        ids = _objects(blocks, pairs, sizes, k, rule, min_size_vox)
        found.append((threshold, score_rows(joined_rows(ids[cell], known, n))))
    return found


def _cell_rows(grid: Grid, blocks: Sequence[BlockCuts], truth: NDArray[np.integer]) -> Rows:
    """The contingency table of all cores by cell, sorted by truth; cells are numbered through."""
    found, before = [], 0
    for key, block in enumerate(blocks):
        core = grid.core(key)
        own = block.cells[core.slices(grid.read(key).begin)]
        cell, known, n = counted(own, truth[core.slices(grid.box.begin)])
        cell = np.where(cell > 0, cell + np.uint64(before), np.uint64(0))
        found.append((cell, known, n))
        before += block.n_cells
    cell, known, n = (np.concatenate([rows[i] for rows in found]) for i in range(3))
    order = np.argsort(known, kind="stable")
    return cell[order], known[order], n[order]


def _cell_pairs(grid: Grid, blocks: Sequence[BlockCuts]) -> Iterator[_CellPairs]:
    for a, near in enumerate(grid.each_later_neighbours()):
        for b in near:
            shared = grid.read(a).intersection(grid.read(b))
            of_a = blocks[a].cells[shared.slices(grid.read(a).begin)]
            of_b = blocks[b].cells[shared.slices(grid.read(b).begin)]
            in_a = np.bincount(of_a.reshape(-1), minlength=blocks[a].n_cells + 1)
            in_b = np.bincount(of_b.reshape(-1), minlength=blocks[b].n_cells + 1)
            found = count_overlaps(of_a, of_b, in_a[1:], in_b[1:])
            if len(found):
                n = found.n.astype(np.int64)
                yield _CellPairs(a, b, found.label_a, found.label_b, n, in_a, in_b)


def _objects(
    blocks: Sequence[BlockCuts],
    pairs: Sequence[_CellPairs],
    sizes: Sequence[UInt32],
    k: int,
    rule: Rule,
    min_size_vox: int,
) -> NDArray[np.uint64]:
    """The object of each cell of all blocks at the ``k``-th threshold, dense; first that of 0."""
    labels = [block.label_of[k] for block in blocks]
    n_labels = [int(of.max(initial=0)) for of in labels]
    pooling = Pooling(np.array(n_labels, np.int64))
    for pair in pairs:
        columns = _label_pairs(pair, labels[pair.a], labels[pair.b])
        joined = match(columns, rule)
        a, b, label_a, label_b = (columns[name][joined] for name in MATCH_COLUMNS[:4])
        pooling.add(a, b, label_a, label_b)
    pool = pooling.finish()
    for key, (of, voxels) in enumerate(zip(labels, sizes, strict=True)):
        pool.add_sizes(key, _sums(of[1:] - np.uint32(1), voxels, n_labels[key]))
    pool.leave_out(min_size_vox)
    numbers = [pool.numbers(key)[of[1:] - np.uint32(1)] for key, of in enumerate(labels)]
    return np.concatenate([np.zeros(1, np.uint64), *numbers])


def _label_pairs(pair: _CellPairs, of_a: UInt32, of_b: UInt32) -> dict[str, UInt32]:
    """The columns that matching reads, of labels."""
    a, b, n = add_up(
        of_a[pair.cell_a].astype(np.uint64), of_b[pair.cell_b].astype(np.uint64), pair.n
    )
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    in_a, in_b = _sums(of_a, pair.in_a), _sums(of_b, pair.in_b)
    full = {"block_a": np.full(a.size, pair.a), "block_b": np.full(a.size, pair.b)}
    found = {"label_a": a, "label_b": b, "n": n[order], "a_in": in_a[a], "b_in": in_b[b]}
    return {name: column.astype(np.uint32) for name, column in (full | found).items()}


def _sums(label_of: UInt32, voxels: NDArray[np.integer], n_labels: int = 0) -> Int64:
    """Voxels by label; exact: they are below 2^53."""
    sums = np.bincount(label_of, weights=voxels, minlength=n_labels)
    return sums.astype(np.int64)


def _numbered(ids: NDArray[np.uint64]) -> UInt32:
    """Labels of cells by what they are part of: 1..n, by the first cell of each; (cells + 1,)."""
    labels = np.zeros(ids.size + 1, np.uint32)
    _number(ids, np.zeros(int(ids.max(initial=0)) + 1, np.uint32), labels)
    return labels


@njit(nogil=True)
def _number(ids: NDArray[np.uint64], number_of: UInt32, labels: UInt32) -> None:
    """Fill ``labels[1:]``; ``number_of``: zeros, one for each id."""
    count = 0
    for i in range(ids.size):
        number = number_of[ids[i]]
        if number == 0:
            count += 1
            number = np.uint32(count)
            number_of[ids[i]] = number
        labels[i + 1] = number


@njit(nogil=True)
def _first_ids(flat: NDArray[np.uint64], cells: UInt32, ids: NDArray[np.uint64]) -> None:
    """``ids[cell]``: the segment that a cell is; each voxel of it says the same."""
    for i in range(flat.size):
        ids[cells[i]] = flat[i]
