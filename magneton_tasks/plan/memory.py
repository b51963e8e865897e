"""The memory that one process of each stage will take, projected from what samples hold."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from magneton_tasks.config.model import RunConfig
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.plan.cost_exact import FaceDensity
from magneton_tasks.plan.cost_rest import Memory, apply_memory, count_memory, planned_pool_memory
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.stage_table import OF_GROUPS, facts, stages_of


@dataclass(frozen=True, slots=True)
class Density:
    """What a few boxes of the input hold, per voxel, before anything is merged."""

    fragments_per_voxel: float
    edges_per_voxel: float
    #: (fragments, edges) per voxel of the densest box; None: nothing was sampled
    densest: tuple[float, float] | None
    #: exact: what stays open at faces, over all boxes and in the densest; labels per voxel
    faces: FaceDensity | None = None
    densest_faces: FaceDensity | None = None
    labels_per_voxel: float | None = None


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
    memory["apply"] = apply_memory(geometry.cells.largest_read, read_voxels, fragments)
    if geometry.coarse_cells is not None:
        memory["downsample"] = apply_memory(geometry.coarse_cells.largest_read, 0, 0)
    return memory


def _exact_memory(_: RunConfig, geometry: Geometry, density: Density) -> dict[str, Memory]:
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
    memory["apply"] = apply_memory(geometry.cells.largest_read, voxels, labels)
    if geometry.coarse_cells is not None:
        memory["downsample"] = apply_memory(geometry.coarse_cells.largest_read, 0, 0)
    return memory
