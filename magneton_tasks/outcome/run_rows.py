"""Every run of a volume as a row: how it was set, what came out, what it cost.

Read from the attempts in the work directories, whatever release wrote them: what can't be read is
left open. Of several thresholds each is a row; CPU time of the stages that they have in common is
shared out evenly among them. Nothing of a volume is opened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from magneton_tasks.base import lease
from magneton_tasks.config import keys, renamed
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.errors import MagnetonError
from magneton_tasks.outcome import run_cost, scores
from magneton_tasks.outcome.run_state import run_state
from magneton_tasks.plan.plan import digest
from magneton_tasks.stages.planning.attempt_directory import frozen_settings
from magneton_tasks.work import attempts, results, threshold_of
from magneton_tasks.work.attempts import Found
from magneton_tasks.work.frozen import plan_of
from magneton_tasks.work.paths import AttemptPaths, WorkPaths

Data = dict[str, Any]

_log = logging.getLogger(__name__)

#: The setting that several thresholds have each for itself.
OUTPUT = "paths.output"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One attempt, at one of its thresholds.

    Attributes
    ----------
    magneton
        The release that planned it.
    state
        ``verified``, ``failed``, ``running``, ``stopped`` or ``unreadable``.
    started
        When it was planned, in unix seconds.
    seconds
        From there to its end, or until now; None: nothing tells when it ended.
    threshold, threshold_from
        Affinity that the result has, and whether the map, the config or the run said so.
    scores
        Against the truth that was asked last, as `scores.FIGURES`, with ``truth`` and ``mips``.
    cpu_s, peak_bytes
        CPU time of its own, and the most memory that a process of its own took.
    settings
        Of its frozen config, by dotted key of today.
    result
        The same for runs that have the same result.
    """

    run: str
    attempt: int
    partition: str | None
    magneton: str | None
    state: str
    started: float
    seconds: float | None
    threshold: float | None = None
    threshold_from: str | None = None
    objects: int | None = None
    scores: Mapping[str, Any] | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    directory: str = ""
    result: str = ""


def of_volume(config: RunConfig) -> list[RunRow]:
    """The runs of a volume, of all its partitions where its paths hold ``{partition}``; newest first.

    Raises
    ------
    OSError
        A work directory can't be read.
    """
    found = [row for work in attempts.work_directories(config) for row in of_work(work)]
    scored = {row.result: row.scores for row in found if row.scores and row.state == "verified"}
    found = [
        replace(row, scores=scored[row.result])
        if row.scores is None and row.state == "verified" and row.result in scored
        else row
        for row in found
    ]
    return sorted(found, key=lambda row: -row.started)


def of_work(work: WorkPaths) -> Iterator[RunRow]:
    """The runs of a work directory, newest first, the thresholds of each ascending."""
    held = lease.holder_of(work.work)
    alive = held[0].run if held is not None else None
    recorded = run_cost.Recorded(work)
    for found in attempts.newest_first(work):
        told = attempts.plan_data(found.paths)
        is_alive = told is not None and told.get("run") == alive
        if is_alive:
            alive = None  # an earlier attempt of that run is over
        try:
            yield from list(_rows(work, found, told or {}, recorded, is_alive=is_alive))
        except Exception:  # its files lie where others may write: they may hold anything
            _log.exception("the run in %s can't be listed", found.paths.root)
            yield _unreadable(found)


def _unreadable(found: Found) -> RunRow:
    root = found.paths.root
    return RunRow(
        root.parent.name, found.paths.number, None, None, "unreadable", found.time_s, None,
        directory=str(root),
    )  # fmt: skip


def _rows(
    work: WorkPaths, found: Found, told: Data, recorded: run_cost.Recorded, *, is_alive: bool
) -> Iterator[RunRow]:
    if not isinstance(told.get("run"), str):
        yield _unreadable(found)
        return
    cuts = [cut for cut in told.get("cuts") or () if isinstance(cut, dict)]
    names = [text_of(cut["threshold"]["value"]) for cut in cuts] or [""]
    known = frozen_settings(found.paths)
    frozen: dict[str, object] = renamed.of(keys.flat(known[0])) if known is not None else {}
    for k, name in enumerate(names):
        paths = found.paths.at(name)
        settings = frozen
        if name and OUTPUT in frozen:
            settings = {**frozen, OUTPUT: str(frozen[OUTPUT]).replace("{threshold}", name)}
        yield _row(
            work, found, paths, {**told, **(cuts[k] if cuts else {})}, settings, recorded,
            share=len(names), is_alive=is_alive,
        )  # fmt: skip


def _row(
    work: WorkPaths,
    found: Found,
    paths: AttemptPaths,
    told: Data,
    settings: Mapping[str, object],
    recorded: run_cost.Recorded,
    *,
    share: int,
    is_alive: bool,
) -> RunRow:
    """One row; ``told``: its plan at this threshold, ``share``: how many thresholds share its stages."""
    tasks = results.read(paths)
    verified = results.of_verify(paths)
    failures = [f for result in tasks.values() for f in result.get("failures") or ()]
    state = run_state(verified, failures, is_alive and verified is None)
    cost = run_cost.of(paths, told, tasks, recorded, share, is_over=state == "verified")
    started = float(told.get("created") or found.time_s)
    ended = results.ended_s(paths) or cost.ended
    ended = time.time() if state == "running" else ended
    threshold, source = _threshold(work, paths, told)
    is_proved = verified is not None and not verified.get("failures")
    return RunRow(
        run=told["run"],
        attempt=paths.number,
        partition=told.get("partition"),
        magneton=told.get("version"),
        state=state,
        started=started,
        seconds=None if ended is None else max(ended - started, 0.0),
        threshold=threshold,
        threshold_from=source,
        objects=verified.get("objects") if verified is not None and is_proved else None,
        scores=next(reversed(scores.of(paths)), None),
        cpu_s=cost.cpu_s,
        peak_bytes=cost.peak_bytes,
        settings=settings,
        directory=str(paths.root),
        result=_result(work, told, threshold),
    )


def _result(work: WorkPaths, told: Data, threshold: float | None) -> str:
    """What two runs with the same result have in common."""
    prints = told.get("fingerprints") or {}
    output = prints.get("result") or prints.get("apply")
    return digest(str(work.work), output, threshold, told.get("input_digest"))


def _threshold(work: WorkPaths, paths: AttemptPaths, told: Data) -> tuple[float | None, str | None]:
    """That the result has: pool's where it took it from the map; None: nobody has it yet."""
    chosen = told.get("threshold")
    if not isinstance(chosen, dict):
        return None, None
    with suppress(MagnetonError, OSError):
        for plan in plan_of(AttemptPaths(paths.root)).each():
            if plan.threshold.value == chosen.get("value"):
                result = threshold_of.result(work, plan)
                return result.settled, result.source
    return None if chosen.get("is_guess") else chosen.get("value"), chosen.get("source")
