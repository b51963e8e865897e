"""The objects of a finished run and their voxels, from its tables: no voxel is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.exact.rounds.supervoxels import SupervoxelRows
from magneton_tasks.stages.cut_tables import CutTables
from magneton_tasks.stages.segment_exact import SUPERVOXELS
from magneton_tasks.stages.slicing import SliceReader
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.blocks import Blocks, pool_invalidating
from magneton_tasks.work.stores import pool_table

Ids = NDArray[np.uint64]
Voxels = NDArray[np.int64]


def objects_of(attempt: Attempt) -> tuple[Ids, Voxels]:
    """Global ids, ascending, and the voxels of each.

    Parameters
    ----------
    attempt
        With a valid record of each block and of pool (exact: of cut).

    Raises
    ------
    NotVisibleError, CorruptFileError
        A record or a table isn't there (`magneton clean` frees tables), or is damaged.
    """
    parts = _exact(attempt) if attempt.config.method == "exact" else _overlap(attempt)
    summed = [_sum(*part) for part in parts]  # block by block: that is fewer rows
    none = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    ids, voxels = (np.concatenate(columns) for columns in zip(none, *summed, strict=True))
    return _sum(ids, voxels)


def _exact(attempt: Attempt) -> Iterator[tuple[Ids, Voxels]]:
    """Of each block that has any: the object of each supervoxel, and its voxels."""
    pool = attempt.require("pool", {0})[0]
    records = attempt.require("segment", range(len(attempt.plan.geometry.grid)))
    blocks = [key for key, record in records.items() if record.state != "empty"]
    reader = SliceReader(attempt, "segment", records, attempt.stage_dir("segment"))
    table = CutTables(attempt, pool, blocks) if blocks else None
    for key in blocks:
        assert table is not None
        (rows,) = reader.read(SUPERVOXELS, (SupervoxelRows,), [key])
        yield table.global_ids(key), rows.voxels


def _overlap(attempt: Attempt) -> Iterator[tuple[Ids, Voxels]]:
    """Of each block: the object of each label, and its voxels in the core."""
    table = pool_table(attempt, attempt.require("pool", {0})[0])
    keys = range(len(attempt.plan.geometry.grid))
    blocks = Blocks(attempt, keys)
    for key in keys:
        core, _ = blocks.sizes(key)
        with pool_invalidating(attempt):
            ids = table.global_ids(key)
        yield ids, core.astype(np.int64)


def _sum(ids: Ids, voxels: Voxels) -> tuple[Ids, Voxels]:
    """Each id once, ascending; without 0, which is what was left out."""
    counts = (ids != 0) & (voxels > 0)
    ids, voxels = ids[counts], voxels[counts]
    order = np.argsort(ids, kind="stable")
    ids, voxels = ids[order], voxels[order]
    begins = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: ids.size])
    return ids[begins], np.add.reduceat(voxels, begins) if begins.size else voxels
