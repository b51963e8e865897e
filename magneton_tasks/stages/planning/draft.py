"""Stage plan: check what can be checked, find what is to do, and freeze an attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks import __version__
from magneton_tasks.base.lease import acquire
from magneton_tasks.config import from_form
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.roots import allowed_roots, check_roots
from magneton_tasks.config.thresholds import (
    is_open,
    require_outputs,
    with_its_threshold,
    with_threshold,
)
from magneton_tasks.config.types import THRESHOLD
from magneton_tasks.errors import LeaseHeldError
from magneton_tasks.formats.metadata import VolumeInfo, read_input
from magneton_tasks.plan.geometry import Geometry, check_files, count_files, make_geometry
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners.arrays.scheduler import LeftJob, Limits
from magneton_tasks.stages import claims
from magneton_tasks.stages.planning import (
    at_threshold,
    attempt_directory,
    checks,
    earlier,
    queued,
    remarks,
    rights,
    stage_work,
    thresholds,
)
from magneton_tasks.stages.planning.at_threshold import Look
from magneton_tasks.stages.planning.expected import Source, form_of_output
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.stages.planning.sampling import Samples
from magneton_tasks.stages.planning.sized import Sized, sized
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import AttemptPaths, WorkPaths

_OPEN = (
    f"where the output lies is known once pool has taken the threshold ({THRESHOLD}) from the map; "
)
_CHECKED_THEN = "it is checked then whose it is"
_REPLACED_THEN = "what lies there then is replaced, whoever wrote it (--overwrite-output)"


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan that isn't frozen yet, with what people want to read of it.

    Attributes
    ----------
    config
        Of several thresholds: as the file has it, with the lowest of them.
    looks
        What was found of each threshold, the lowest first.
    limits
        Of the cluster that the run works on.
    left
        Arrays of earlier runs that are in its queue.
    """

    config: RunConfig
    plan: Plan
    samples: Samples | None
    looks: tuple[Look, ...]
    limits: Limits | None = None
    left: tuple[LeftJob, ...] = ()

    @property
    def work(self) -> WorkPaths:
        return WorkPaths(Path(self.config.paths.work))


def load(request: PlanRequest) -> RunConfig:
    """The config of a request, its overrides, partition and threshold applied and checked."""
    checks.check_stages(request.stages)
    if request.form:
        from_form.check(request.overrides)
    config = load_config(request.config_path, request.sets, request.partition)
    require_partition(config, str(request.config_path))
    if len(request.thresholds) > 1:
        require_outputs(config, request.thresholds, str(request.config_path))
    else:
        config = _with_known_output(request, with_its_threshold(config))
    if request.form:
        for each in request.each(config):
            check_roots(each, request.overrides, allowed_roots())
    return config


def _with_known_output(request: PlanRequest, config: RunConfig) -> RunConfig:
    """The config with the output of the threshold that the map told before, if it's to stay that."""
    anew = request.restart and "segment" in request.stages
    if not is_open(config) or anew:
        return config
    source = Source.of(config)
    geometry = make_geometry(config, source.facts)
    known = thresholds.known(config, request.sets, geometry.box, source.digest).value
    return config if known is None else with_threshold(config, known)


def check_defaults(request: PlanRequest, config: RunConfig) -> None:
    """Refuse a config whose defaults would silently change a result of before."""
    template = load_config(request.config_path, request.sets)
    for each in request.each(config):
        earlier.check(each, template)


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
    looks = tuple(
        at_threshold.look(request, each, info, geometry, input_digest, write=write)
        for each in request.each(config)
    )
    size = sized(request, config, geometry, facts, input_digest, looks, write=write)
    left = queued.followed_by_nobody(config, request.run)
    first = looks[0]
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
        fingerprints=first.fingerprints,
        threshold=first.threshold,
        work=size.work,
        memory=size.memory,
        memory_limit=size.memory_limit,
        workers=size.workers,
        files=n_files * len(looks),
        output_bytes=stage_work.output_bytes(geometry) * len(looks),
        label_bytes=stage_work.label_bytes(geometry, at_threshold.todo_of(looks)["segment"]),
        notes=(*_notes(request, config, geometry, size, looks, info), *queued.notes(left)),
        overrides=request.sets,
        roots=allowed_roots() if request.form else None,
        replaces=first.replaces if not size.cuts else None,
        cuts=size.cuts,
        overwrite_output=request.overwrite_output,
        by_block=size.by_block,
    )
    checks.check_disk(config, plan)
    return Draft(config, plan, size.samples, looks, size.limits, left)


def _notes(
    request: PlanRequest,
    config: RunConfig,
    geometry: Geometry,
    size: Sized,
    looks: Sequence[Look],
    info: VolumeInfo,
) -> Iterator[str]:
    """What whoever reads a plan should know."""
    yield from remarks.remarks(config, geometry, size.work)
    yield from dict.fromkeys(note for one in looks for note in one.looked.notes())
    yield from info.notes
    yield from size.doubts
    yield from size.samples.warnings if size.samples else ()
    if is_open(config) and not size.cuts:  # pool settles the output
        yield _OPEN + (_REPLACED_THEN if request.overwrite_output else _CHECKED_THEN)


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
    places = lease_places(config, request.several)
    try:
        lease = acquire(places, request.run, process_bound=request.process_bound)
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
        for one, plan in zip(drafted.looks, drafted.plan.each(), strict=True):
            _begin(request, one, plan, work)
        made = attempt_directory.freeze(work, drafted.config, drafted.plan, drafted.limits)
        return *made, drafted
    except BaseException:
        lease.release()
        raise


def _begin(request: PlanRequest, look: Look, plan: Plan, work: WorkPaths) -> None:
    """What is done with records and output before an attempt is frozen; ``plan``: of the threshold."""
    for stage in plan.work:
        Manifest(work.records(stage, plan.fingerprints.of(stage))).compact()
    if is_open(look.config):
        return  # pool does the rest, once it knows where the output lies
    if look.is_new_output:
        checks.forget_output(look.config, plan)
    if "apply" in request.stages:
        claims.take_place(look.config, plan)


def _preflight(request: PlanRequest, config: RunConfig) -> None:
    """What must be right before the first file is written, the lease's own."""
    _, geometry = _checked(request, config, write=False)
    for each in request.each(config):
        rights.check_places(each)
        if is_open(each):
            continue
        # which result doesn't matter
        checks.check_owner(each, geometry, "", request.overwrite_output)


def _checked(
    request: PlanRequest, config: RunConfig, *, write: bool
) -> tuple[VolumeInfo, Geometry]:
    """The affinity map and the geometry, if defaults, input and paths are as they must be."""
    check_defaults(request, config)
    info = checks.check_input(config, read_input(config))
    each_config = list(request.each(config))
    for each in each_config:
        checks.check_paths(each, write)
    forms = (form for each in each_config if (form := form_of_output(each)) is not None)
    geometry = make_geometry(config, VolumeFacts.of(info), next(forms, None))
    return info, geometry
