"""What each stage has to do, as batches and CPU seconds, and the bytes that it will write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from magneton_tasks.base.grid import Ranges, ranges_len
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan import cost_exact, cost_objects, cost_overlap
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.memory import Density
from magneton_tasks.plan.stage_plan import StagePlan, make_stage
from magneton_tasks.plan.stage_table import MAPPED, OF_GROUPS, SECTIONS, facts, stages_asked
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.arrays.scheduler import Limits, Scheduler

#: CPU seconds per voxel of the volume, start-up of one process included, and bytes per voxel that is
#: read (labels) or written (output, all mips): benchmarks/pipeline.py, pub128 at threshold 0.7.
COUNT_S_PER_VOXEL = 0.04e-6
APPLY_S_PER_VOXEL = 0.09e-6
FACES_S_PER_VOXEL = 0.005e-6
LABEL_BYTES_PER_VOXEL = 0.32
OUTPUT_BYTES_PER_VOXEL = 0.20


def stage_plans(
    config: RunConfig,
    geometry: Geometry,
    todo: Mapping[str, Ranges],
    density: Density,
    workers: int,
    *,
    by_block: bool = False,
) -> dict[str, StagePlan]:
    """What each stage that a volume has is to do, in batches for ``workers`` processes.

    ``todo``: of each stage, ranges of blocks, groups or cells; of those that work groups what is known
    by now. ``by_block`` as in `make_stage`.
    """
    mapped = [s for s in stages_asked(config) if facts(s).grid]
    totals = {
        s: ranges_len(todo[s]) if s in OF_GROUPS else len(geometry.stage_grid(s) or ())
        for s in mapped
    }
    share_of = {s: ranges_len(todo[s]) / max(n, 1) for s, n in totals.items()}
    voxels = geometry.box.voxels
    whole_s = {"count": voxels * COUNT_S_PER_VOXEL, "apply": voxels * APPLY_S_PER_VOXEL}
    if config.method == "exact":
        whole_s |= _exact_cpu_s(geometry, density)
    for section in SECTIONS:
        made = geometry.objects(section)
        if made is not None:
            of_cells, of_shards = cost_objects.cpu_s(section, made.mip, voxels)
            whole_s |= {section: of_cells, f"{section}_shards": of_shards}
    cpu_s = {s: share_of[s] * whole_s.get(s, 0.0) for s in totals}
    if config.method != "exact":
        cpu_s["segment"] = cost_overlap.segment_cpu_s(
            _read_voxels(geometry, todo["segment"]),
            config.segment.merge_function,
            config.segment.supervoxels,
            density.fragments_per_voxel,
            density.edges_per_voxel,
        )
    plans = {
        s: make_stage(n, todo[s], cpu_s[s], workers, by_block=by_block) for s, n in totals.items()
    }
    plans["pool"] = StagePlan(1, todo["pool"], ranges_len(todo["pool"]))
    return plans


def _exact_cpu_s(geometry: Geometry, density: Density) -> dict[str, float]:
    """CPU seconds of the stages that only the exact method has, over the whole volume."""
    voxels = geometry.box.voxels
    return {
        "segment": cost_exact.block_cpu_s(voxels, density.edges_per_voxel),
        "faces": voxels * FACES_S_PER_VOXEL,
        "cut": voxels * cost_exact.CUT_S_PER_VOXEL,
    }


def _read_voxels(geometry: Geometry, todo: Ranges) -> int:
    """Voxels that the blocks to do read, halos included (exact for all blocks, else their mean)."""
    grid = geometry.grid
    if not todo:
        return 0
    per_axis = []
    for axis, cuts in enumerate(grid.cuts):
        low, high = grid.halo_low[axis], grid.halo_high[axis]
        n = len(cuts) - 1
        per_axis.append(cuts[-1] - cuts[0] + (n - 1) * (low + high))
    return prod(per_axis) * ranges_len(todo) // len(grid)


def label_bytes(geometry: Geometry, todo: Ranges) -> int:
    """Bytes of the labels of the blocks to do, about."""
    return int(_read_voxels(geometry, todo) * LABEL_BYTES_PER_VOXEL)


def output_bytes(geometry: Geometry) -> int:
    """Bytes of the whole output, about."""
    return int(_output_voxels(geometry) * OUTPUT_BYTES_PER_VOXEL)


def _output_voxels(geometry: Geometry) -> int:
    return sum(geometry.mip_box(k).voxels for k in range(len(geometry.factors) + 1))


def as_arrays(stage: str, work: StagePlan, scheduler: Scheduler, limits: Limits) -> StagePlan:
    """A mapped stage's work as job arrays: a batch is one, and a part an index of it."""
    if stage not in MAPPED:
        return work
    batches, parts = limits_of_cluster.cut(
        ranges_len(work.todo), work.cpu_s, scheduler.settings, limits.max_array
    )
    return replace(work, batches=batches, parts=parts)
