"""The memory that one process of each stage will take, projected from what samples hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.location import locate
from magneton_tasks.config.model import RunConfig
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.plan.cost_objects import cell_memory, shard_memory
from magneton_tasks.plan.cost_overlap import TYPICAL_DENSITY
from magneton_tasks.plan.cost_rest import (
    Memory,
    apply_memory,
    count_memory,
    downsample_memory,
    planned_pool_memory,
)
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.object_grid import ObjectGrid
from magneton_tasks.plan.stage_table import OF_GROUPS, SECTIONS, facts, stages_of


@dataclass(frozen=True, slots=True)
class Density:
    """What a few boxes of the input hold, per voxel, before anything is merged."""

    fragments_per_voxel: float
    edges_per_voxel: float
    #: (fragments, edges) per voxel of the densest box; None: nothing was sampled
    densest: tuple[float, float] | None
    #: exact: of the box that holds most
    labels_per_voxel: float | None = None


#: Where nothing was sampled: cortex, see benchmarks/memory.py.
TYPICAL = Density(*TYPICAL_DENSITY, TYPICAL_DENSITY)
#: The largest cell that plan makes, in voxels along each axis.
_LARGEST_CELL = (512, 512, 512)
#: Of mip 1, where voxels are higher than wide: the largest mip 1.
_FACTOR = (1, 2, 2)


def usual_memory(config: RunConfig) -> dict[str, Memory]:
    """As `project_memory`, from the config alone: of a few whole blocks of ordinary tissue."""
    exact, size = config.method == "exact", config.block.size
    overlap = (0, 0, 0) if exact else config.block.overlap
    n = 2 if exact else 3  # so that the one in the middle is as large as a block may be
    box = Box.of_shape(vec3(n * (s - o) for s, o in zip(size, overlap, strict=True)))
    grid = Grid.of_blocks(box, size, overlap)
    cells = Grid.of_cells(Box.of_shape(_LARGEST_CELL), _LARGEST_CELL)
    mips = max(config.apply.mips, 1)
    factors = (_FACTOR, *[(2, 2, 2)] * (mips - 1))
    usual = Geometry(grid, factors, mips, cells, cells, config.method)
    voxels = [usual.mip_box(mip).voxels for mip in range(mips + 1)]
    mesh, skeleton = (ObjectGrid.make(config, s, mips, voxels) for s in SECTIONS)
    return project_memory(config, replace(usual, mesh=mesh, skeleton=skeleton), TYPICAL)


def project_memory(config: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    """Memory of one process of each stage, from the largest block, group and cell.

    A stage without a projection of its own: as the last before it on the same grid.
    """
    project = _exact_memory if config.method == "exact" else _overlap_memory
    memory = project(config, geometry, density)
    mapped = [s for s in stages_of(config.method) if facts(s).grid]
    for n, stage in enumerate(mapped):
        grid = geometry.stage_grid(stage)
        before = [s for s in mapped[:n] if geometry.stage_grid(s) == grid and s in memory]
        if stage not in memory and grid is not None and before:
            memory[stage] = memory[before[-1]]
    return memory


def _overlap_memory(config: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    read_voxels = prod(geometry.grid.largest_read)
    segment = config.segment
    memory = {
        "segment": Memory(
            cost_overlap.segment_bound_bytes(
                read_voxels, segment.merge_function, segment.supervoxels, density.densest
            ),
            cost_overlap.segment_expected_bytes(
                read_voxels,
                segment.merge_function,
                segment.supervoxels,
                density.fragments_per_voxel,
                density.edges_per_voxel,
            ),
        )
    }
    fragments = int(density.fragments_per_voxel * read_voxels)
    memory["count"] = count_memory(geometry.grid.largest_read, config.block.overlap)
    memory["pool"] = planned_pool_memory(fragments * len(geometry.grid))
    return memory | writing_memory(config, geometry, fragments)


def _exact_memory(config: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
    grid = geometry.grid
    voxels = prod(grid.largest_core)
    labels = int((density.labels_per_voxel or density.fragments_per_voxel) * voxels)
    plane = max(voxels // s for s in grid.largest_core)
    memory = {
        "segment": Memory(
            cost_exact.block_bound_bytes(voxels, density.densest),
            cost_exact.block_expected_bytes(
                voxels, density.fragments_per_voxel, density.edges_per_voxel
            ),
        ),
        # planes and contacts of three faces
        "faces": count_memory((1, 1, 6 * plane), (0, 0, 0)),
        "pool": planned_pool_memory(0),
    }
    # Their groups are cut to what a worker may take: the least is what a process takes anyway.
    least = cost_exact.round_bytes(0)
    memory |= dict.fromkeys(OF_GROUPS, Memory(least, least))
    return memory | writing_memory(config, geometry, labels)


def writing_memory(config: RunConfig, geometry: Geometry, labels: int) -> dict[str, Memory]:
    """Of the stages that write the output; ``labels``: of a block."""
    cells, grid = geometry.cells.largest_read, geometry.grid
    slab = geometry.slab_shape(config.apply.chunk_size)
    factor = geometry.factors[0] if geometry.cell_mips else None
    kept = 0
    if geometry.sharded:  # what goes to a bucket is put together before it is sent
        kept = 1 if locate(config.paths.output).path else 2
    memory = {"apply": apply_memory(cells, slab, factor, prod(grid.largest_read), labels, kept)}
    if geometry.coarse_cells is not None:
        memory["downsample"] = downsample_memory(geometry.coarse_cells.largest_read)
    return memory | _object_memory(geometry)


def _object_memory(geometry: Geometry) -> dict[str, Memory]:
    """Of the stages of meshes and skeletons."""
    memory = dict[str, Memory]()
    for section in SECTIONS:
        made = geometry.objects(section)
        if made is not None:
            memory[section] = cell_memory(section, geometry.largest_cell(made.mip))
            voxels = geometry.mip_box(made.mip).voxels
            memory[f"{section}_shards"] = shard_memory(made, voxels)
    return memory
