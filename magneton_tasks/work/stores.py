"""The stores of an attempt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.base.location import locate
from magneton_tasks.config.model import RunConfig
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Plan
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record

if TYPE_CHECKING:  # each costs up to a second to import, and no stage needs all of them
    from magneton_tasks.formats.precomputed.store import PrecomputedStore
    from magneton_tasks.work.labels import LabelStore
    from magneton_tasks.work.pool_table import PoolTable
    from magneton_tasks.work.residuals import ResidualStore


def label_store(attempt: Attempt, wait_s: float | None = None) -> LabelStore:
    """Where segment puts the labels of blocks; ``wait_s`` None: as the config says."""
    from magneton_tasks.work.labels import LabelStore

    grid = attempt.plan.geometry.grid
    wait_s = attempt.wait_s if wait_s is None else wait_s
    exact = attempt.config.method == "exact"  # what a block reads beyond its core has no labels
    shape = grid.largest_core if exact else grid.largest_read
    return LabelStore(attempt.stage_dir("segment"), grid.shape, shape, wait_s)


def table_dir(attempt: Attempt, pool_input: str) -> Path:
    """Where the pool table made from pairs of this digest lies: a kill never mixes two generations."""
    return attempt.stage_dir("pool") / "tables" / pool_input


def pool_table(attempt: Attempt, pool: Record) -> PoolTable:
    """The (block, label) -> global id of pool's record."""
    from magneton_tasks.work.pool_table import PoolTable

    return PoolTable(table_dir(attempt, pool.input or ""), attempt.wait_s, pool.files)


def segmentation(attempt: Attempt) -> PrecomputedStore:
    """The output volume; its info file is written where it isn't there yet."""
    return create_output(attempt.config, attempt.plan)


def create_output(
    config: RunConfig,
    plan: Plan,
    *,
    owner: Mapping[str, Any] | None = None,
    replace: bool = False,
    check_only: bool = False,
    other_form: bool = False,
) -> PrecomputedStore:
    """As :func:`segmentation`; the options are those of `create_segmentation`.

    With an ``owner``, too, whatever lies there is replaced.
    """
    from magneton_tasks.formats.precomputed.write import create_segmentation

    return create_segmentation(
        config.paths.output,
        plan.geometry.box,
        plan.volume.voxel_size_nm,
        config.apply.chunk_size,
        config.apply.encoding,
        plan.geometry.cumulative[1:],
        config.apply.compress,
        replace=replace or owner is not None,
        owner=owner,
        check_only=check_only,
        other_form=other_form,
        cells=plan.geometry.chunks_per_cell(config.apply.chunk_size),
    )


def output_as_planned(attempt: Attempt) -> PrecomputedStore:
    """The output volume, whatever its ``info`` says; nothing is written or looked at."""
    given, plan = attempt.config.apply, attempt.plan
    return store_of(
        attempt.config.paths.output,
        plan.geometry,
        plan.volume.voxel_size_nm,
        given.chunk_size,
        given.encoding,
        given.compress,
    )


def store_of(
    url: str,
    geometry: Geometry,
    voxel_size_nm: Size3,
    chunk_size: Vec3,
    encoding: str,
    compress: str | None,
) -> PrecomputedStore:
    """The output volume of a run of this geometry; nothing is written or looked at."""
    from magneton_tasks.formats.objects import Objects
    from magneton_tasks.formats.precomputed.info import make_scales
    from magneton_tasks.formats.precomputed.store import PrecomputedStore

    cells = geometry.chunks_per_cell(chunk_size)
    scales = make_scales(
        geometry.box, voxel_size_nm, geometry.cumulative[1:], chunk_size, cells, compress
    )
    objects = Objects(locate(url))
    return PrecomputedStore(url, scales, encoding, "uint64", 1, compress, objects=objects)


def residual_store(attempt: Attempt, wait_s: float | None = None) -> ResidualStore:
    """Where what blocks leave open lies (exact); ``wait_s`` None: as the config says."""
    from magneton_tasks.work.residuals import ResidualStore

    return ResidualStore(attempt.stage_dir("segment"), attempt.wait_s if wait_s is None else wait_s)
