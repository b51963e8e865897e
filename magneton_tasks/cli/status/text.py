"""The status of a volume for people: lines, and a terminal that is redrawn."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from magneton_tasks.base import lease
from magneton_tasks.base.lease import Holder
from magneton_tasks.base.units import human_moment, human_time, several
from magneton_tasks.config.differences import THRESHOLD
from magneton_tasks.outcome import threshold_words
from magneton_tasks.outcome.figures import FIGURES
from magneton_tasks.plan.stage_table import OWN_STAGES, noun_of
from magneton_tasks.work.record import failure_lines
from magneton_tasks.work.validity import OTHER_SETTINGS

if TYPE_CHECKING:
    from rich.text import Text

    from magneton_tasks.outcome.status import Status
    from magneton_tasks.outcome.status_stages import StageStatus

#: A line and its style.
Line = tuple[str, str | None]

#: How many failures (or damaged files) and running blocks of a stage are told without being asked.
FAILURES, WORKING = 20, 8
_COUNTS = ("done", "running", "failed", "missing", "empty", "stale", "corrupt", "total")


def lines(
    status: Status, *, missing: bool, failed: bool, slow: int | None, now: float
) -> Iterator[Line]:
    """All that is told; ``now`` in unix seconds."""
    yield from _head(status, now)
    width = max(11, *(len(stage.name) + 1 for stage in status.stages))
    yield (
        "".join(
            [f"{'stage':<{width}}", *(f"{c:>9}" for c in _COUNTS), "   speed, time left, peak"]
        ),
        "bold",
    )
    own = [stage.stage in OWN_STAGES for stage in status.stages].index(True)
    yield from (_row(stage, status, now, width) for stage in status.stages[:own])
    yield from _further_rounds(status)
    yield from (_row(stage, status, now, width) for stage in status.stages[own:])
    for stage in status.stages:
        yield from _remarks(status, stage, now)
    for stage in status.stages:
        yield from _failures(stage, None if failed else FAILURES)
    yield from _jobs(status)
    if missing:
        yield "", None
        yield from _undone(status)
    if slow is not None:
        yield from _slowest(status, slow)


def _further_rounds(status: Status) -> Iterator[Line]:
    """Between the rounds that are known and pool, in the order of the flow."""
    first = status.first
    if first.shown.plan.geometry.method == "exact" and first.states.chain.may_go_on:
        known = len(first.states.chain.steps)
        yield (
            f"rounds from round{known} on: not known yet (planned from what the ones before leave open)",
            None,
        )


def _jobs(status: Status) -> Iterator[Line]:
    """The job arrays that may still be in the queue; how many ended."""
    jobs = status.jobs()
    for job in jobs:
        if not job["over"]:
            again = f", try {job['try']}" if job["try"] > 1 else ""
            yield f"job {job['job']}: {job['task']}, parts {job['indexes']}{again}", None
    over = [j for j in jobs if j["over"]]
    if over:
        yield f"{several(len(over), 'job array')} ended: {_some([j['job'] for j in over])}", None


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def _head(status: Status, now: float) -> Iterator[Line]:
    plan = status.attempt.plan
    held = lease.holder_of(status.attempt.work.work)
    working = ""
    if status.alive and held is not None:
        working = f", working ({_holder(*held)})"
    yield (
        f"run {plan.run}, attempt {plan.attempt}, planned {human_moment(plan.created)}{working}",
        None,
    )
    if held is not None and held[0].run != plan.run:
        yield f"held by run {held[0].run} ({_holder(*held)})", None
    overrides = {k: v for k, v in plan.overrides.items() if not plan.cuts or k != THRESHOLD}
    if overrides:
        given = ", ".join(f"{k}={v}" for k, v in overrides.items())
        yield f"with {given} in place of what the file says", None
    shown = status.first.shown
    of = threshold_words.of_plan(plan) if plan.cuts else threshold_words.words(shown.threshold)
    yield f"threshold {of}", None
    for warning in shown.threshold.warnings:
        yield f"WARNING: {warning}", "yellow"
    planned_now = status.first.now
    changes = planned_now.changes
    if changes and not status.is_as_planned:
        what = "what follows describes the run as planned" if status.alive else "see stale"
        yield f"the config has changed since ({what}): {'; '.join(changes)}", "yellow"
    elif changes:
        yield (
            f"the config has changed since, but nothing that decides results: {'; '.join(changes)}",
            None,
        )
    if not status.is_as_planned and planned_now.attempt.plan.input_digest != plan.input_digest:
        yield "the input has changed since (its metadata, input.version or the mask)", "yellow"
    for note in planned_now.notes:
        yield f"note: {note}", "yellow"


def _holder(holder: Holder, age_s: float) -> str:
    return f"host {holder.host}, pid {holder.pid}, last sign of life {human_time(age_s)} ago"


def _row(stage: StageStatus, status: Status, now: float, width: int) -> Line:
    summary = stage.summary
    cells, counts = [f"{stage.name:<{width}}"], {**summary.counts, "total": summary.total}
    for name in _COUNTS:
        unknown = name == "corrupt" and not status.check  # nobody has looked
        cells.append(f"{'-' if unknown else format(counts.get(name, 0), ','):>9}")
    told = summary.words(now, is_alive=status.alive)
    style = "red" if counts.get("failed") or counts.get("corrupt") else None
    if style is None and stage.is_done:
        style = "green"
    return "".join([*cells, f"   {told}" if told else ""]), style


def _remarks(status: Status, stage: StageStatus, now: float) -> Iterator[Line]:
    for why, n in stage.stale_why.items():
        if why == OTHER_SETTINGS and (keys := status.first.now.reasons(stage.stage)):
            why = f"{why} ({'; '.join(keys)})"
        yield f"{stage.name}: {n:,} stale: {why}", "yellow"
    if stage.proof is not None and stage.proof != "complete":
        more = "" if status.check else "; --check reads every chunk"
        yield f"{stage.name}: {stage.proof}{more}", "yellow"
    if stage.cleaned:
        yield (
            f"{stage.name}: files of {several(stage.cleaned, noun_of(stage.stage))} were cleaned; "
            "they are computed again if a stage has to read them",
            None,
        )
    for block in stage.working[:WORKING]:
        where = f"{block['host']} (pid {block['pid']})"
        since = f"since {human_moment(block['since'])} ({human_time(max(now - block['since'], 0))})"
        yield f"{stage.name} {_place(block)} runs on {where} {since}", "cyan"
    if len(stage.working) > WORKING:
        yield f"{stage.name}: {len(stage.working) - WORKING:,} more are running", "cyan"


def _failures(stage: StageStatus, most: int | None) -> Iterator[Line]:
    for failure in stage.failures[:most]:
        key = failure.get("key")
        name = stage.name if key is None else f"{stage.name} {key}"
        cause, *advice = failure_lines(failure, f"{name}: ")
        yield cause, "red"
        if "position" in failure:
            when = (
                f", {failure['host']}, {human_moment(failure['time'])}"
                if failure.get("time")
                else ""
            )
            yield f"  where: {_place(failure)}{when}", None
        yield from ((line, None) for line in advice)
    for damage in stage.damage[:most]:
        yield f"{stage.name} {damage['key']}: corrupt: {damage['file']}: {damage['cause']}", "red"
        yield f"  what to do: {damage['hint']}", None
    if most is not None:
        more = sum(max(len(found) - most, 0) for found in (stage.failures, stage.damage))
        if more:
            yield f"{stage.name}: {more:,} more; --failed lists them all", "red"


def _undone(status: Status) -> Iterator[Line]:
    nothing = True
    for block in status.undone():
        if nothing:
            yield "still to do:", "bold"
        nothing = False
        why = f": {block['why']}" if block["why"] else ""
        name = f"{block['stage']} {block.get('at', '')}".strip()
        yield f"  {name:<11}{_place(block)}  {block['state']}{why}", None
    if nothing:
        yield "still to do: nothing", "bold"


def _slowest(status: Status, n: int) -> Iterator[Line]:
    yield "", None
    heads = "".join(f"{figure.word:>13}" for figure in FIGURES)
    yield f"{'the slowest':<11}{heads}  where", "bold"
    for block in status.slowest(n):
        figures = "".join(f"{figure.text(block[figure.name]):>13}" for figure in FIGURES)
        name = f"{block['stage']} {block.get('at', '')}".strip()
        yield f"{name:<11}{figures}  {_place(block)}, {block['host']}", None


def _place(block: dict[str, Any]) -> str:
    """Index, position in the grid and core box, zyx."""
    if "position" not in block:
        return f"{block['key']}"
    begin, end = block["begin_vox"], block["end_vox"]
    core = ",".join(f"{b}:{e}" for b, e in zip(begin, end, strict=True))
    return f"{block['key']} {tuple(block['position'])} core {core}"


# ------------------------------------------------------------------ on the screen
def show(told: Iterable[Line]) -> None:
    """Print the lines; in colour on a terminal."""
    if not sys.stdout.isatty():
        for text, _ in told:
            click.echo(text)
        return
    from rich.console import Console

    from magneton_tasks.cli.console import say

    console = Console()
    for text, style in told:
        say(console, text, style)


def watch(status: Status, every_s: float, **wanted: Any) -> None:
    """Redraw until nothing works on the volume any more, or Ctrl-C."""
    from rich.live import Live

    try:
        with Live(_drawn(status, wanted), auto_refresh=False) as live:
            while status.alive:
                time.sleep(every_s)
                status.refresh()
                live.update(_drawn(status, wanted), refresh=True)
    except KeyboardInterrupt:
        return
    click.echo("no run works on this volume now")


def _drawn(status: Status, wanted: dict[str, Any]) -> Text:
    from rich.text import Text

    drawn = Text(no_wrap=True, overflow="ellipsis")
    for text, style in lines(status, now=time.time(), **wanted):
        drawn.append(f"{text}\n", style)
    return drawn
