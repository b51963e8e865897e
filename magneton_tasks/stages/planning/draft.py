"""Stage plan: check what can be checked, find what is to do, and freeze an attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks import __version__
from magneton_tasks.base.lease import acquire
from magneton_tasks.config import from_form
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.roots import allowed_roots, check_roots
from magneton_tasks.config.thresholds import with_its_threshold
from magneton_tasks.errors import LeaseHeldError
from magneton_tasks.formats.metadata import VolumeInfo, read_input
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import (
    Geometry,
    VolumeFacts,
    check_files,
    count_files,
    make_geometry,
)
from magneton_tasks.plan.memory import TYPICAL, project_memory
from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.plan.stage_table import CHOICES
from magneton_tasks.runners import resources, this_machine
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.arrays.scheduler import LeftJob, Limits, Scheduler
from magneton_tasks.runners.registry import scheduler_of
from magneton_tasks.stages import claims
from magneton_tasks.stages.planning import (
    attempt_directory,
    checks,
    earlier,
    queued,
    replaced,
    rights,
    stage_work,
    thresholds,
    worker_memory,
)
from magneton_tasks.stages.planning.sampling import Samples, sample
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.inputs import config_block_digest
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths, WorkPaths
from magneton_tasks.work.todo import Todo


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
    #: samples of the map tell about which threshold it will ask for, where nobody knows it yet
    guess: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that isn't frozen yet, with what people want to read of it."""

    config: RunConfig
    plan: Plan
    samples: Samples | None
    is_new_output: bool
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
    config = with_its_threshold(config, str(request.config_path))
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
    info, geometry = _checked(request, config, write=write)
    facts = VolumeFacts.of(info)
    n_files = count_files(geometry, config.apply.chunk_size)
    check_files(config, geometry, n_files)
    input_digest = checks.input_digest(config, info)
    threshold = _threshold(request, config, info, geometry, input_digest)
    fingerprints = make_fingerprints(config, geometry)
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
            grid=geometry.grid,
            write=write,
        )

    looked = Todo(config, geometry, fingerprints, request.stages, request.restart, is_new)
    todo = looked.all(lambda key: config_block_digest(config, geometry, input_digest, key))
    samples = sampled() if todo["segment"] else None
    replaces = replaced.look(
        config,
        threshold,
        checks.identity(config, geometry),
        fingerprints.of_output,
        restart=request.restart,
        writes=bool(todo["apply"] or todo["downsample"]),
        input_changed=looked.input_changed,
        overwrite=request.overwrite_output,
    )
    density = samples.density if samples else TYPICAL
    memory = project_memory(config, geometry, density)
    limit = worker_memory.limit_of_worker(config, memory, todo, machine, density.densest, facts)
    workers = request.workers or config.worker.workers or resources.workers(limit, machine)
    stages = stage_work.stage_plans(config, geometry, todo, density, workers)
    if scheduler is not None and limits is not None:
        stages = {s: stage_work.as_arrays(s, w, scheduler, limits) for s, w in stages.items()}
        parts = (w.batches * w.parts for w in stages.values())
        workers = min(workers, max(*parts, 1))
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
        output_bytes=stage_work.output_bytes(geometry),
        label_bytes=stage_work.label_bytes(geometry, todo["segment"]),
        notes=(
            *filter(None, earlier.remarks(config, geometry, stages)),
            *looked.notes(),
            *info.notes,
            *(samples.warnings if samples else ()),
            *queued.notes(left),
        ),
        overrides=dict(request.overrides),
        roots=allowed_roots() if request.form else None,
        replaces=replaces,
    )
    checks.check_disk(config, plan)
    return Draft(config, plan, samples, is_new, limits, left)


def _threshold(
    request: PlanRequest, config: RunConfig, info: VolumeInfo, geometry: Geometry, input_digest: str
) -> ThresholdChoice:
    """That the run takes, as far as it's known: a restart takes one from the map anew."""
    if request.restart and "segment" in request.stages:
        fixed = thresholds.fixed(config, request.overrides)
        threshold = fixed or ThresholdChoice(None, "map")
    else:
        threshold = thresholds.known(config, request.overrides, geometry.box, input_digest)
    if threshold.value is None and request.guess:
        return thresholds.guess(config, info, geometry.box)
    return threshold


def _cluster_limits(config: RunConfig, scheduler: Scheduler | None) -> Limits | None:
    """What the cluster allows, checked against what jobs will ask for; None: the run has none."""
    if scheduler is None:
        return None
    scheduler.check_path(config.paths.work)
    return limits_of_cluster.ask(scheduler)


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
        attempt_directory.mark(work)
        for stage in drafted.plan.work:
            Manifest(work.records(stage, drafted.plan.fingerprints.of(stage))).compact()
        if drafted.is_new_output:
            checks.forget_output(drafted.config, drafted.plan)
        if "apply" in request.stages:
            claims.take_place(drafted.config, drafted.plan)
        made = attempt_directory.freeze(work, drafted.config, drafted.plan, drafted.limits)
        return *made, drafted
    except BaseException:
        lease.release()
        raise


def _preflight(request: PlanRequest, config: RunConfig) -> None:
    """What must be right before the first file is written, the lease's own."""
    _, geometry = _checked(request, config, write=False)
    rights.check_places(config)
    # which result doesn't matter
    checks.check_owner(config, geometry, "", request.overwrite_output)


def _checked(
    request: PlanRequest, config: RunConfig, *, write: bool
) -> tuple[VolumeInfo, Geometry]:
    """The affinity map and the geometry, if defaults, input and paths are as they must be."""
    check_defaults(request, config)
    info = checks.check_input(config, read_input(config))
    geometry = make_geometry(config, VolumeFacts.of(info))
    checks.check_paths(config, write)
    return info, geometry
