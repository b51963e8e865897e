"""Which result in the output a run would write over, and what tells when that was finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from magneton_tasks.base.location import locate
from magneton_tasks.config import keys, renamed
from magneton_tasks.config.deciding import decides
from magneton_tasks.config.differences import differing
from magneton_tasks.config.read import RunConfig
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.plan.replaced import Replaced
from magneton_tasks.plan.stage_table import CHOICES
from magneton_tasks.stages.planning.checks import has_layer, owner_of
from magneton_tasks.work import results
from magneton_tasks.work.attempts import every
from magneton_tasks.work.paths import AttemptPaths, WorkPaths

SAME_SETTINGS = "the settings are the same; Magneton's kernels or the input's geometry changed"
RESTARTED = "the settings are the same; the restart does all of it again"

INPUT_CHANGED = "the input changed, or input.identity, which detects that"

FOREIGN = "it is a layer that Magneton didn't write (--overwrite-output)"


def look(
    config: RunConfig,
    threshold: ThresholdChoice,
    volume: str,
    fingerprint: str,
    *,
    restart: bool,
    writes: bool,
    input_changed: bool,
    overwrite: bool,
) -> Replaced | None:
    """The result that apply would write over; None: none, or only what a rerun completes.

    Parameters
    ----------
    threshold
        That the run takes.
    volume
        What makes an output the same volume: `checks.identity`.
    fingerprint
        Of the output's result, with the settings of now.
    restart
        The run does anew what is done.
    writes
        Apply has something to do.
    input_changed
        Blocks were segmented from an input that isn't there any more.
    overwrite
        Also over what belongs to another volume, or to another tool.
    """
    owner = owner_of(config.paths.output, overwrite)
    if owner is None:
        return _foreign(config) if overwrite else None
    differs = _differing(owner, config, threshold)
    if (owner.get("volume"), owner.get("fingerprint")) != (volume, fingerprint):
        return _replaced(config, owner, differs or (SAME_SETTINGS,))
    # The same settings, but of another input: its version is no part of the fingerprint.
    if writes and (restart or differs or input_changed):
        why = RESTARTED if restart else INPUT_CHANGED
        found = _replaced(config, owner, differs or (why,))
        return found if found.state != "unfinished" else None
    return None


def by_settings(config: RunConfig, *, restart: bool, overwrite: bool) -> Replaced | None:
    """As `look`, judged by the settings alone: nothing but the output's owner is read."""
    owner = owner_of(config.paths.output, overwrite)
    if owner is None:
        return _foreign(config) if overwrite else None
    differs = _differing(owner, config)
    if not (restart or differs):
        return None
    return _replaced(config, owner, differs or (RESTARTED,))


def _foreign(config: RunConfig) -> Replaced | None:
    """A layer that another tool wrote."""
    if not has_layer(locate(config.paths.output)):
        return None
    return Replaced(config.paths.output, "unknown", None, None, (FOREIGN,))


def _differing(
    owner: Mapping[str, Any], config: RunConfig, threshold: ThresholdChoice | None = None
) -> tuple[str, ...]:
    """Settings that decide results and differ, as ``key: before -> now``."""
    before, now = owner.get("config"), config.resolved()
    if not isinstance(before, dict):
        return ()
    taken = (owner.get("threshold"), None if threshold is None else threshold.settled)
    found = [
        line
        for line in differing(before, now, taken)
        if (key := line.partition(":")[0]) == "input.version"
        or any(decides(key, c) for c in CHOICES)
    ]
    # What only one of two methods (rules) reads says less than which it was.
    both = renamed.of(keys.flat(before)).keys() & keys.flat(now).keys()
    return tuple([line for line in found if line.partition(":")[0] in both] or found)


def _replaced(config: RunConfig, owner: Mapping[str, Any], differs: tuple[str, ...]) -> Replaced:
    state, finished, run = state_of(config, owner)
    return Replaced(config.paths.output, state, run, finished, differs)


def state_of(
    config: RunConfig, owner: Mapping[str, Any]
) -> tuple[Literal["finished", "unfinished", "unknown"], float | None, str | None]:
    """Whether verify has proved the result complete, when, and the run that made it."""
    run = str(owner["run"]) if owner.get("run") else None
    if "finished" in owner:
        finished = owner["finished"]
        if not finished:
            return "unfinished", None, run
        return "finished", float(finished["time"]), str(finished["run"])
    # Before `finished` stood there, only the run's directory knew.
    work = WorkPaths(Path(config.paths.work))
    if run is None or not work.run(run).is_dir():
        return "unknown", None, run
    times = [t for p in every(work, run) if (t := _verified(p)) is not None]
    return ("finished", max(times), run) if times else ("unfinished", None, run)


def _verified(paths: AttemptPaths) -> float | None:
    """When verify found the whole output of an attempt complete."""
    result = results.of_verify(paths)
    if result is None or "chunks" not in result or result.get("failures"):
        return None
    return results.ended_s(paths)
