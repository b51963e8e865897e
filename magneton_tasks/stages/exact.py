"""What the stages of the exact method share: settings, places of blocks, chains of records."""

from __future__ import annotations

from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.kernels.exact.block_step import Place
from magneton_tasks.kernels.exact.residual import Residual
from magneton_tasks.plan.join_tree import JoinTree
from magneton_tasks.plan.stage_table import JOINS
from magneton_tasks.work import validity
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record


def place_of(grid: Grid, key: int) -> Place:
    """Where a block lies in the segmented box, and which of its faces have a neighbour."""
    core, at, whole = grid.core(key), grid.index3(key), grid.box
    z, y, x = ((p > 0, p + 1 < n) for p, n in zip(at, grid.shape, strict=True))
    origin = vec3(c - b for c, b in zip(core.begin, whole.begin, strict=True))
    return Place(key, origin, whole.shape, (z, y, x))


def tree_of(attempt: Attempt) -> JoinTree:
    """The joins of an attempt of the exact method."""
    joins = attempt.plan.geometry.joins
    assert joins is not None
    return joins


def rows_of(residual: Residual) -> dict[str, int]:
    """Rows of each table: what a join of it will take follows from them."""
    return {
        "regions": len(residual.regions.block),
        "edges": len(residual.edges.u),
        "basins": len(residual.basins.region),
        "pairs": len(residual.pairs.a),
    }


def join_inputs(attempt: Attempt, counts: dict[int, Record], level: int) -> dict[int, str]:
    """The input digest that each group of a level has with these counts of all blocks."""
    tree, inputs = tree_of(attempt), {k: r.input or "" for k, r in counts.items()}
    for at in range(1, level + 1):
        inputs = validity.join_inputs(tree, at, inputs)
    return inputs


def require_joins(
    attempt: Attempt, level: int, groups: set[int] | range, counts: dict[int, Record]
) -> dict[int, Record]:
    """The valid record of each group of a level, made from these counts.

    Raises
    ------
    NotVisibleError
        Some have none.
    """
    stage = JOINS[level - 1]
    records, wanted = attempt.require(stage, groups), join_inputs(attempt, counts, level)
    other = [k for k, r in records.items() if validity.why_stale(stage, r, wanted.get(k))]
    if other:
        raise NotVisibleError(
            f"{stage} isn't complete: {len(other):,} of {len(records):,} groups were joined from other counts than there are now ({other[0]}, ...)",
            f"rerun (in Airflow: clear the task plan), so that {stage} is done again",
        )
    return records
