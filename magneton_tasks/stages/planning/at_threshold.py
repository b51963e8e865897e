"""What plan finds at one threshold: which it is, what is to do, and what its output holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from magneton_tasks.base.grid import Ranges, items, ranges_len, to_ranges
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import is_open
from magneton_tasks.formats.info import VolumeInfo
from magneton_tasks.plan.fingerprints import make_fingerprints
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Cut, Fingerprints, ThresholdChoice
from magneton_tasks.plan.replaced import Replaced
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import OWN_STAGES
from magneton_tasks.stages.planning import checks, objects, replaced, rights, thresholds
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.inputs import config_block_digest
from magneton_tasks.work.todo import Todo


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one threshold.

    Attributes
    ----------
    config
        With its threshold, and the output of it.
    is_new_output
        The records of cells don't tell what the output holds.
    todo
        Of each stage, ranges of blocks, groups or cells.
    """

    config: RunConfig
    threshold: ThresholdChoice
    fingerprints: Fingerprints
    is_new_output: bool
    looked: Todo
    todo: Mapping[str, Ranges]
    replaces: Replaced | None

    def cut(self, works: Mapping[str, StagePlan]) -> Cut:
        """As one of several thresholds of a plan; ``works``: of all stages."""
        own = {stage: works[stage] for stage in OWN_STAGES if stage in works}
        return Cut(self.threshold, self.fingerprints, own, self.replaces)


def look(
    request: PlanRequest,
    config: RunConfig,
    info: VolumeInfo,
    geometry: Geometry,
    input_digest: str,
    *,
    write: bool,
) -> Look:
    """Look at what there is; raises where a run can't work.

    Parameters
    ----------
    config
        One of `PlanRequest.each`.
    write
        False: nothing at all is written (a dry run).
    """
    threshold = _threshold(request, config, info, geometry, input_digest)
    fingerprints = make_fingerprints(config, geometry)
    if write:
        rights.check_folders(config, fingerprints)
    is_new = is_open(config) or checks.check_owner(
        config, geometry, fingerprints.apply, request.overwrite_output
    )
    objects.check(config)
    looked = Todo(config, geometry, fingerprints, request.stages, request.restart, is_new)
    todo = looked.all(lambda key: config_block_digest(config, geometry, input_digest, key))
    replaces = None
    if not is_open(config):
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
    return Look(config, threshold, fingerprints, is_new, looked, todo, replaces)


def _threshold(
    request: PlanRequest, config: RunConfig, info: VolumeInfo, geometry: Geometry, input_digest: str
) -> ThresholdChoice:
    """That the run takes, as far as it's known: a restart takes one from the map anew."""
    if request.restart and "segment" in request.stages:
        fixed = thresholds.fixed(config, request.sets)
        threshold = fixed or ThresholdChoice(None, "map")
    else:
        threshold = thresholds.known(config, request.sets, geometry.box, input_digest)
    if threshold.value is None and request.guess:
        return thresholds.guess(config, info, geometry.box)
    return threshold


def todo_of(looks: Sequence[Look]) -> dict[str, Ranges]:
    """What is to do before pool for all thresholds; of pool and after it, for the first."""
    found = dict(looks[0].todo)
    for stage in found:
        if stage not in OWN_STAGES:
            found[stage] = _union([one.todo[stage] for one in looks])
    return found


def _union(several: Sequence[Ranges]) -> Ranges:
    if all(one == several[0] for one in several):
        return several[0]
    return to_ranges(sorted({key for one in several for key in items(one, 0, ranges_len(one))}))
