"""Stage plan: check what can be checked, find what is to do, and freeze an attempt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import yaml

from magneton_tasks import __version__
from magneton_tasks.base import files, units
from magneton_tasks.base.grid import Ranges, ranges_len
from magneton_tasks.base.lease import acquire
from magneton_tasks.config import from_form
from magneton_tasks.config.differences import differing
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.roots import allowed_roots, check_roots
from magneton_tasks.errors import ConfigError, LeaseHeldError
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.plan import cost_exact, cost_overlap
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.exact_tree import choose_tree, join_cost
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import (
    Geometry,
    VolumeFacts,
    check_files,
    count_files,
    make_geometry,
)
from magneton_tasks.plan.memory import Density, project_memory
from magneton_tasks.plan.plan import Plan, StagePlan, make_stage
from magneton_tasks.plan.stage_names import CHOICES, JOINS, MAPPED
from magneton_tasks.runners import memory_advice, resources, this_machine
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.arrays.scheduler import LeftJob, Limits, Scheduler
from magneton_tasks.runners.registry import Kind, runner_of, scheduler_of
from magneton_tasks.stages import claims
from magneton_tasks.stages.planning import checks, earlier, queued, replaced, rights, thresholds
from magneton_tasks.stages.planning.sampling import TYPICAL, Samples, sample
from magneton_tasks.work import attempts
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.inputs import config_block_digest
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.todo import Todo

#: CPU seconds per voxel of the volume, start-up of one process included, and bytes per voxel that is
#: read (labels) or written (output, all mips): benchmarks/pipeline.py, pub128 at threshold 0.7.
COUNT_S_PER_VOXEL = 0.04e-6
APPLY_S_PER_VOXEL = 0.09e-6
EXACT_COUNT_S_PER_VOXEL = 0.01e-6
LABEL_BYTES_PER_VOXEL = 0.32
OUTPUT_BYTES_PER_VOXEL = 0.20


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is asked of plan; see `magneton plan --help`."""

    config_path: Path
    run: str
    overrides: Mapping[str, object]
    partition: str | None = None
    stages: tuple[str, ...] = CHOICES
    restart: bool = False
    form: bool = False
    overwrite_output: bool = False
    workers: int | None = None
    #: the run lives in the process that calls (magneton run), not in a DAG's many
    process_bound: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that isn't frozen yet, with what people want to read of it."""

    config: RunConfig
    plan: Plan
    samples: Samples | None
    is_new_output: bool
    threshold: thresholds.Taken
    #: of the cluster that the run works on
    limits: Limits | None = None
    #: arrays of earlier runs that are in its queue
    left: tuple[LeftJob, ...] = ()

    @property
    def work(self) -> WorkPaths:
        return WorkPaths(Path(self.config.paths.work))


def load(request: PlanRequest) -> RunConfig:
    """The config of a request, its overrides and partition applied and checked."""
    checks.check_stages(request.stages)
    if request.form:
        from_form.check(request.overrides)
    config = load_config(request.config_path, request.overrides, request.partition)
    require_partition(config, str(request.config_path))
    if request.form:
        check_roots(config, request.overrides, allowed_roots())
    return config


def check_defaults(request: PlanRequest, config: RunConfig) -> None:
    """Refuse a config whose defaults would silently change a result of before."""
    earlier.check(config, load_config(request.config_path, request.overrides))


def draft(request: PlanRequest, *, write: bool = True) -> Draft:
    """Everything but writing the attempt; raises where the run can't work.

    Parameters
    ----------
    write
        False: nothing at all is written (a dry run).
    """
    config = load(request)
    check_defaults(request, config)
    info = read_metadata(config.paths.input, config.input.mip)
    checks.check_input(config, info)
    facts = VolumeFacts.of(info)
    geometry = make_geometry(config, facts)
    checks.check_paths(config, write)
    n_files = count_files(geometry, config.apply.chunk_size)
    check_files(config, geometry, n_files)
    input_digest = checks.input_digest(config, info)
    taken = thresholds.take(
        config,
        request.overrides,
        info,
        geometry.box,
        input_digest,
        restart=request.restart and "segment" in request.stages,
    )
    threshold = taken.choice
    fingerprints = make_fingerprints(config, geometry, threshold.value)
    if write:
        rights.check_folders(config, fingerprints)
    is_new = checks.check_owner(config, geometry, fingerprints.apply, request.overwrite_output)
    work, scheduler = WorkPaths(Path(config.paths.work)), scheduler_of(config)
    limits = _cluster_limits(config, scheduler)
    left = queued.followed_by_nobody(config, request.run)
    machine = (limits.node_bytes if limits else 0) or this_machine.memory_bytes()

    def sampled() -> Samples:
        return sample(
            config,
            geometry.box,
            input_digest,
            work.samples,
            threshold.value,
            grid=geometry.grid,
            write=write,
        )

    samples = sampled() if config.method == "exact" else None
    if samples is not None:  # what is to do depends on who is joined with whom
        geometry = _with_joins(config, geometry, samples.density, machine)
    looked = Todo(config, geometry, fingerprints, request.stages, request.restart, is_new)
    todo = looked.all(lambda key: config_block_digest(config, geometry, input_digest, key))
    if samples is None and todo["segment"]:
        samples = sampled()
    replaces = replaced.look(
        config,
        threshold,
        checks.identity(config, geometry),
        fingerprints.apply,
        restart=request.restart,
        writes=bool(todo["apply"] or todo["downsample"]),
        input_changed=looked.input_changed,
        overwrite=request.overwrite_output,
    )
    density = samples.density if samples else TYPICAL
    memory = project_memory(config, geometry, density)
    limit = _check_memory(config, memory, todo, machine, density.densest, facts)
    workers = request.workers or config.worker.workers or resources.workers(limit, machine)
    stages = _stage_plans(config, geometry, todo, density, workers)
    if scheduler is not None and limits is not None:
        stages = {s: _as_arrays(s, w, scheduler, limits) for s, w in stages.items()}
        parts = (w.batches * w.parts for w in stages.values())
        workers = min(workers, max(*parts, 1))
    read_voxels = _read_voxels(geometry, todo["segment"])
    plan = Plan(
        version=__version__,
        run=request.run,
        attempt=0,
        created=time.time(),
        config_path=str(request.config_path),
        partition=request.partition,
        restart=request.restart,
        stages=request.stages,
        volume=facts,
        input_digest=input_digest,
        geometry=geometry,
        fingerprints=fingerprints,
        threshold=threshold,
        work=stages,
        memory=memory,
        memory_limit=limit,
        workers=workers,
        files=n_files,
        output_bytes=int(_output_voxels(geometry) * OUTPUT_BYTES_PER_VOXEL),
        label_bytes=int(read_voxels * LABEL_BYTES_PER_VOXEL),
        notes=(
            *filter(None, [earlier.remark(config)]),
            *info.notes,
            *(samples.warnings if samples else ()),
            *queued.notes(left),
        ),
        overrides=dict(request.overrides),
        roots=allowed_roots() if request.form else None,
        replaces=replaces,
    )
    checks.check_disk(config, plan)
    return Draft(config, plan, samples, is_new, taken, limits, left)


def _cluster_limits(config: RunConfig, scheduler: Scheduler | None) -> Limits | None:
    """What the cluster allows, checked against what jobs will ask for; None: the run has none."""
    if scheduler is None:
        return None
    scheduler.check_path(config.paths.work)
    return limits_of_cluster.ask(scheduler)


def _as_arrays(stage: str, work: StagePlan, scheduler: Scheduler, limits: Limits) -> StagePlan:
    """A mapped stage's work as job arrays: a batch is one, and a part an index of it."""
    if stage not in MAPPED:
        return work
    batches, parts = limits_of_cluster.cut(
        ranges_len(work.todo), work.cpu_s, scheduler.settings, limits.max_array
    )
    return replace(work, batches=batches, parts=parts)


def _with_joins(config: RunConfig, geometry: Geometry, density: Density, machine: int) -> Geometry:
    """With the tree of joins that fits a worker's memory; refuses where none does."""
    assert density.faces is not None and density.densest_faces is not None
    most = config.worker.largest_memory or int(machine * resources.USABLE)
    limits = sorted({min(config.worker.memory or most, most), most})
    for limit in limits:  # a first try's, else what later ones may have
        try:
            tree = choose_tree(geometry.grid, density.faces, density.densest_faces, limit)
            return replace(geometry, joins=tree)
        except ConfigError as error:
            refusal = ConfigError(error.what, memory_advice.advice(config, JOINS[0]))
    raise refusal


def run(
    request: PlanRequest, agree: Callable[[Draft], None] | None = None
) -> tuple[Plan, AttemptPaths, Draft]:
    """Plan an attempt and freeze it; holds the volume's lease from here on.

    Parameters
    ----------
    agree
        Gets the plan before anything of an earlier result is touched; what it raises gives the
        lease back.
    """
    config = load(request)
    _preflight(request, config)
    try:
        lease = acquire(lease_places(config), request.run, process_bound=request.process_bound)
    except LeaseHeldError as error:
        raise queued.with_jobs(error, config, request.config_path, request.partition) from None
    try:
        drafted = draft(request)
        if agree is not None:
            with lease.kept():  # a person may think for long
                agree(drafted)
        queued.cancel(config, drafted.left)
        work = drafted.work
        mark(work)
        drafted.threshold.keep(work)
        for stage in drafted.plan.work:
            Manifest(work.records(stage, drafted.plan.fingerprints.of(stage))).compact()
        if drafted.is_new_output:
            checks.forget_output(drafted.config, drafted.plan)
        if "apply" in request.stages:
            claims.take_place(drafted.config, drafted.plan)
        return *_freeze(drafted), drafted
    except BaseException:
        lease.release()
        raise


def _preflight(request: PlanRequest, config: RunConfig) -> None:
    """What must be right before the first file is written, the lease's own."""
    check_defaults(request, config)
    info = read_metadata(config.paths.input, config.input.mip)
    checks.check_input(config, info)
    checks.check_paths(config, write=False)
    rights.check_places(config)
    geometry = make_geometry(config, VolumeFacts.of(info))
    checks.check_owner(
        config, geometry, "", request.overwrite_output
    )  # which result doesn't matter


def _check_memory(
    config: RunConfig,
    memory: Mapping[str, Memory],
    todo: Mapping[str, Ranges],
    machine: int,
    densest: tuple[float, float] | None,
    volume: VolumeFacts,
) -> int:
    """Memory limit of one worker, in bytes; refuses what won't fit."""
    needed = {s: m.bound for s, m in memory.items() if todo.get(s)}
    stage = max(needed, key=lambda s: needed[s], default=None)
    limit = config.worker.memory or min(
        max(needed.values(), default=memory["segment"].bound), machine
    )
    largest = config.worker.largest_memory or machine
    if stage is not None and needed[stage] > largest:
        given = (
            f"{config.worker.MEMORY_KEY} ({units.human_bytes(largest)})"
            if config.worker.largest_memory
            else f"{_has_memory(config)} ({units.human_bytes(machine)})"
        )
        raise ConfigError(
            f"{stage} may need {units.human_bytes(needed[stage])} per worker (expected: {units.human_bytes(memory[stage].expected)}), more than {given}",
            _memory_hint(config, stage, largest, densest, volume),
        )
    return limit


def _has_memory(config: RunConfig) -> str:
    is_here = runner_of(config).kind is not Kind.ARRAYS
    return this_machine.memory().given_by if is_here else "a node has"


def _memory_hint(
    config: RunConfig,
    stage: str,
    limit: int,
    densest: tuple[float, float] | None,
    volume: VolumeFacts,
) -> str:
    """What to do about a stage that may need more than there is."""
    others = memory_advice.ways(config, stage, volume, None)
    found = [way.text for way in others if "block.size" not in way.sets or stage != "segment"]
    if stage == "segment":
        more_joins = " (joins take more then)" if config.method == "exact" else ""
        step = next(
            (
                s
                for s in range(min(config.block.size) - 32, 31, -32)
                if _bound(config, s, densest) <= limit
            ),
            None,
        )
        found[:0] = (
            [f"a block.size of about [{step}, {step}, {step}] fits{more_joins}"] if step else []
        )
    return "; or ".join([*found, memory_advice.more_memory(config)])


def _bound(config: RunConfig, edge: int, densest: tuple[float, float] | None) -> int:
    """Bytes that segmenting a block of this edge never exceeds."""
    if config.method == "exact":
        return cost_exact.block_bound_bytes(edge**3, densest)
    return cost_overlap.segment_bound_bytes(
        edge**3, config.segment.merge_function, config.segment.supervoxels, densest
    )


def _stage_plans(
    config: RunConfig,
    geometry: Geometry,
    todo: Mapping[str, Ranges],
    density: Density,
    workers: int,
) -> dict[str, StagePlan]:
    grids = {s: geometry.stage_grid(s) for s in MAPPED}
    totals = {s: len(g or ()) for s, g in grids.items() if g is not None or s not in JOINS}
    share_of = {s: ranges_len(todo[s]) / max(n, 1) for s, n in totals.items()}
    voxels = geometry.box.voxels
    whole_s = {"count": voxels * COUNT_S_PER_VOXEL, "apply": voxels * APPLY_S_PER_VOXEL}
    if config.method == "exact":
        whole_s |= _exact_cpu_s(geometry, density)
    cpu_s = {s: share_of[s] * whole_s.get(s, 0.0) for s in totals}
    if config.method != "exact":
        cpu_s["segment"] = cost_overlap.segment_cpu_s(
            _read_voxels(geometry, todo["segment"]),
            config.segment.merge_function,
            config.segment.supervoxels,
            density.fragments_per_voxel,
            density.edges_per_voxel,
        )
    plans = {s: make_stage(n, todo[s], cpu_s[s], workers) for s, n in totals.items()}
    plans["pool"] = StagePlan(1, todo["pool"], ranges_len(todo["pool"]))
    return plans


def _exact_cpu_s(geometry: Geometry, density: Density) -> dict[str, float]:
    """CPU seconds of the stages that only the exact method has, over the whole volume."""
    voxels, joins = geometry.box.voxels, geometry.joins
    assert joins is not None and density.faces is not None and density.densest_faces is not None
    seconds = {
        "segment": cost_exact.block_cpu_s(voxels, density.edges_per_voxel),
        "count": voxels * EXACT_COUNT_S_PER_VOXEL,
    }
    for level in range(1, joins.levels + 1):
        cost = join_cost(geometry.grid, joins, level, density.faces, density.densest_faces)
        seconds[JOINS[level - 1]] = cost.edges * cost_exact.JOIN_S_PER_EDGE
    return seconds


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


def _output_voxels(geometry: Geometry) -> int:
    return sum(geometry.mip_box(k).voxels for k in range(len(geometry.factors) + 1))


def mark(work: WorkPaths) -> None:
    """The marker that tells `clean` that this directory is ours."""
    if not work.marker.exists():
        content = {"magneton": "work directory", "version": __version__}
        files.write_atomic(work.marker, json.dumps(content).encode())


def _freeze(drafted: Draft) -> tuple[Plan, AttemptPaths]:
    """Write config and plan into a new attempt directory; two at once get two numbers."""
    run_dir = drafted.work.run(drafted.plan.run)
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        number = max((p.number for p in attempts.every(drafted.work, drafted.plan.run)), default=0)
        while True:
            number += 1
            root = run_dir / str(number)
            try:
                root.mkdir()
                break
            except FileExistsError:
                continue
    except OSError as error:
        raise files.writing_failed(run_dir, error) from error
    plan = replace(drafted.plan, attempt=number)
    paths = AttemptPaths(root)
    text = yaml.safe_dump(drafted.config.resolved(), sort_keys=False, default_flow_style=None)
    files.write_atomic(paths.config, text.encode())
    files.write_atomic(paths.plan, plan.to_json().encode())
    files.make_directory(paths.logs)
    if drafted.limits is not None:
        limits_of_cluster.write(root, drafted.limits)
    return plan, paths


def differences(work: WorkPaths, plan: Plan, config: RunConfig) -> list[str]:
    """What differs from the frozen config of the attempt before, as ``key: before -> now``."""
    before = _previous(work, plan)
    if before is None:
        return []
    settings, threshold = before
    return differing(settings, config.resolved(), (threshold, plan.threshold.value))


def _previous(work: WorkPaths, plan: Plan) -> tuple[dict[str, Any], float | None] | None:
    """Config of the attempt before, and the threshold that it took (affinity), where that's told."""
    this = work.run(plan.run) / str(plan.attempt)
    try:
        found = attempts.newest_first(work)
        before = next((f.paths for f in found if f.paths.root != this), None)
        data = yaml.safe_load(before.config.read_text()) if before is not None else None
    except (OSError, ValueError, yaml.YAMLError):
        return None
    told = attempts.plan_data(before) if before is not None else None
    if not isinstance(data, dict) or told is None:
        return None
    chosen = told.get("threshold")
    return data, chosen.get("value") if isinstance(chosen, dict) else None
