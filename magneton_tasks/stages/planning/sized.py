"""How a run is sized: memory and workers by what samples and the runner's machine tell, then batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base.grid import Ranges
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.cost_rest import Memory
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.memory import TYPICAL, Density, project_memory
from magneton_tasks.plan.plan import Cut
from magneton_tasks.plan.stage_plan import StagePlan, all_of
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.runners import resources, this_machine
from magneton_tasks.runners.arrays import limits as limits_of_cluster
from magneton_tasks.runners.arrays.scheduler import Limits, Scheduler
from magneton_tasks.runners.registry import scheduler_of
from magneton_tasks.stages.planning import at_threshold, doubtful, stage_work, worker_memory
from magneton_tasks.stages.planning.at_threshold import Look
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.stages.planning.sampling import Samples, sample
from magneton_tasks.work.paths import WorkPaths


@dataclass(frozen=True, slots=True)
class Sized:
    """What a run takes.

    Attributes
    ----------
    samples
        None: no block is to be segmented.
    doubts
        Why the map may be read wrongly, if such maps aren't refused.
    memory_limit
        Of one worker, in bytes.
    work
        Of each stage; from pool on of all thresholds together.
    cuts
        Of several thresholds.
    limits
        Of the cluster that the run works on.
    by_block
        Few blocks are a task each.
    """

    samples: Samples | None
    doubts: Sequence[str]
    memory: Mapping[str, Memory]
    memory_limit: int
    workers: int
    work: Mapping[str, StagePlan]
    cuts: tuple[Cut, ...]
    limits: Limits | None
    by_block: bool


def sized(
    request: PlanRequest,
    config: RunConfig,
    geometry: Geometry,
    facts: VolumeFacts,
    input_digest: str,
    looks: Sequence[Look],
    *,
    write: bool,
) -> Sized:
    """Size a run; what is to do was found out before (``looks``).

    Parameters
    ----------
    write
        False: nothing at all is written (a dry run).
    """
    todo, scheduler = at_threshold.todo_of(looks), scheduler_of(config)
    limits = _cluster_limits(config, scheduler)
    machine = (limits.node_bytes if limits else 0) or this_machine.memory_bytes()
    samples = None
    if todo["segment"]:
        known = WorkPaths(Path(config.paths.work)).samples
        samples = sample(config, geometry.box, input_digest, known, grid=geometry.grid, write=write)
    doubts = doubtful.refuse(config, samples) if samples else ()
    density = samples.density if samples else TYPICAL
    memory = project_memory(config, geometry, density)
    limit = worker_memory.limit_of_worker(config, memory, todo, machine, density.densest, facts)
    workers = request.workers or config.worker.workers or resources.workers(limit, machine)
    batches = _Batches(
        config, geometry, density, workers, request.form and scheduler is None, scheduler, limits
    )
    work, cuts = batches.of(todo), tuple[Cut, ...]()
    if len(looks) > 1:
        cuts = tuple(one.cut(batches.of(one.todo)) for one in looks)
        work |= {s: all_of([cut.work[s] for cut in cuts]) for s in cuts[0].work}
    if limits is not None:
        workers = min(workers, max(*(w.batches * w.parts for w in work.values()), 1))
    return Sized(samples, doubts, memory, limit, workers, work, cuts, limits, batches.by_block)


@dataclass(frozen=True, slots=True)
class _Batches:
    """How what is to do is cut into batches."""

    config: RunConfig
    geometry: Geometry
    density: Density
    workers: int
    by_block: bool
    scheduler: Scheduler | None
    limits: Limits | None

    def of(self, todo: Mapping[str, Ranges]) -> dict[str, StagePlan]:
        works = stage_work.stage_plans(
            self.config, self.geometry, todo, self.density, self.workers, by_block=self.by_block
        )
        if self.scheduler is None or self.limits is None:
            return works
        arrays = (self.scheduler, self.limits)
        return {s: stage_work.as_arrays(s, w, *arrays) for s, w in works.items()}


def _cluster_limits(config: RunConfig, scheduler: Scheduler | None) -> Limits | None:
    """What the cluster allows, checked against what jobs will ask for; None: the run has none."""
    if scheduler is None:
        return None
    scheduler.check_path(config.paths.work)
    return limits_of_cluster.ask(scheduler)
