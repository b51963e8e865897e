"""``magneton plan``, and what a plan looks like to people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base import files
from magneton_tasks.base.grid import ranges_len
from magneton_tasks.base.units import human_bytes, human_count, human_time, several
from magneton_tasks.cli.run import replacing
from magneton_tasks.cli.run.replacing import Agreement
from magneton_tasks.outcome import threshold_words
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import CHOICE_OF, MAPPED, ROUNDS, STAGES, noun_of
from magneton_tasks.runners.warming import ensure_warm
from magneton_tasks.stages.planning import attempt_directory, draft
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.stages.planning.sampling import Samples
from magneton_tasks.work.events import Ended, tell


def plan(
    config: Path, run_id: str, *, form: bool, sets: dict[str, object], yes: bool, **options: Any
) -> None:
    """Make an attempt; print the plan, and as the last line its JSON."""
    request = PlanRequest(config.absolute(), run_id, sets, form=form, **options)
    made, paths, drafted = draft.run(request, agreement(show=True, yes=yes))
    for line in attempt_directory.differences(drafted.work, made, drafted.config):
        click.echo(f"changed since the last attempt: {line}")
    if not made.nothing_to_do and drafted.config.runner.default == "local":
        ensure_warm(click.echo)  # or each worker would compile for itself
    result = {
        "stage": "plan",
        "attempt": str(paths.root),
        "batches": {s: made.work[s].batches for s in MAPPED if s in made.work},
        "nothing_to_do": made.nothing_to_do,
    }
    files.write_atomic(paths.result("plan"), json.dumps(result).encode())
    tell(Ended(result))


def agreement(*, show: bool, yes: bool) -> Agreement:
    """What shows a plan, and asks before it replaces a finished result."""
    return Agreement(show, yes, lambda drafted: describe(drafted.plan, drafted.samples))


def describe(plan: Plan, samples: Samples | None) -> Iterator[str]:
    """A plan in lines for people."""
    geometry = plan.geometry
    box, grid = geometry.box, geometry.grid
    size = " x ".join(f"{v:g}" for v in plan.volume.voxel_size_nm)
    yield f"volume    {box} (zyx), {human_count(box.voxels)} voxels of {size} nm, {plan.volume.dtype}"
    yield f"grid      {several(len(grid), 'block')} ({' x '.join(map(str, grid.shape))}), read box at most {' x '.join(map(str, grid.largest_read))}; {several(len(geometry.cells), 'cell')}"
    yield f"threshold {threshold_words.of_plan(plan)}"
    for stage in STAGES:
        if stage == "pool" and _has_rounds(plan):
            yield _rounds(plan)
        work, memory = plan.work.get(stage), plan.memory.get(stage)
        if work is None or not work.total or memory is None or CHOICE_OF[stage] not in plan.stages:
            continue
        todo = ranges_len(work.todo)
        what = _share(plan, stage, work) if todo else "nothing to do"
        needs = f"memory at most {human_bytes(memory.bound)}, about {human_bytes(memory.expected)} per worker"
        time = f", about {human_time(work.cpu_s)} CPU" if work.cpu_s and stage != "pool" else ""
        yield f"{stage:<9} {what}" + (f"; {needs}{time}" if todo else "")
    yield f"output    {several(plan.files, 'file')}, about {human_bytes(plan.output_bytes)}; block labels about {human_bytes(plan.label_bytes)}"
    yield f"time      about {human_time(plan.expected_s)} with {several(plan.workers, 'worker')} of at most {human_bytes(plan.memory_limit)}"
    for channel in samples.channels if samples else ():
        yield f"sampled   {_channel(channel)}"
    for note in dict.fromkeys(
        (*(w for p in plan.each() for w in p.threshold.warnings), *plan.notes)
    ):
        yield f"WARNING   {note}"
    yield from replacing.describe(plan)


def _share(plan: Plan, stage: str, work: StagePlan) -> str:
    """What is to do of a stage, in how many batches; few blocks are a task each in Airflow."""
    todo = ranges_len(work.todo)
    if plan.by_block and stage in MAPPED and work.batches == todo:
        return f"{todo:,} of {work.total:,}, a task for each {noun_of(stage)}"
    batches = f" in {several(work.batches, 'batch', 'batches')}" if stage in MAPPED else ""
    return f"{todo:,} of {work.total:,}{batches}"


def _has_rounds(plan: Plan) -> bool:
    """Whether rounds are a part of what is asked for and still to do."""
    is_asked = plan.geometry.method == "exact" and "pool" in plan.stages
    return is_asked and bool(plan.work["pool"].todo)


def _rounds(plan: Plan) -> str:
    """What is known of the rounds (exact method)."""
    if any(plan.work[stage].todo for stage in ("segment", "faces", *ROUNDS)):
        return "rounds    not known yet: their groups follow from the rows that blocks leave open"
    return "reused    all blocks and rounds: pool, cut and apply only"


def _channel(channel: dict[str, Any]) -> str:
    """What a few boxes held of one channel."""
    text = (
        f"{channel['axis']}: {channel['minimum']:.3g} to {channel['maximum']:.3g}, mean {channel['mean']:.3g}, "
        f"{channel['fraction_zero']:.1%} are 0, {channel['fraction_one']:.1%} are 1"
    )
    return text + (f", {channel['not_finite']:,} not finite" if channel["not_finite"] else "")
