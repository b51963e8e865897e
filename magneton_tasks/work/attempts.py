"""The attempts of a work directory, and the work directories of a volume's partitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from glob import escape, glob
from pathlib import Path
from typing import Any

from magneton_tasks import __version__
from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.errors import NoInputError, OtherVersionError
from magneton_tasks.work import results
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths, WorkPaths, safe_name

_PARTITION = "{partition}"


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt, and when the file changed last by which it was found, in unix seconds."""

    paths: AttemptPaths
    time_s: float


def every(work: WorkPaths, run: str | None = None) -> Iterator[AttemptPaths]:
    """The attempts of a work directory, or of one run; also those whose planning was stopped.

    What others don't let this user read is left out.

    Raises
    ------
    OSError
        The directory of all runs can't be read.
    """
    for name in files.listdir(work.runs) if run is None else [safe_name(run)]:
        with suppress(NotADirectoryError, PermissionError):
            for number in files.listdir(work.runs / name):
                if number.isdigit():
                    yield AttemptPaths(work.runs / name / number)


def newest_first(
    work: WorkPaths,
    run: str | None = None,
    *,
    by: Callable[[AttemptPaths], float | None] = lambda paths: files.modified_s(paths.plan),
) -> list[Found]:
    """The attempts that have a file, those first where it is newest; usually that of the plan.

    ``by`` tells when it changed last; None: it isn't there.

    Raises
    ------
    OSError
        The directory of all runs can't be read.
    """
    found = [
        Found(paths, time_s) for paths in every(work, run) if (time_s := by(paths)) is not None
    ]
    return sorted(found, key=lambda f: (f.time_s, f.paths.number, f.paths.root), reverse=True)


def plan_data(paths: AttemptPaths) -> dict[str, Any] | None:
    """An attempt's plan as any release may have written it; None where it can't be read."""
    with suppress(OSError, ValueError), files.open_read(paths.plan) as file:
        return json_object(file.read())
    return None


# ------------------------------------------------------------------ of a volume
def at_partitions(pattern: str) -> dict[str, Path]:
    """The paths that exist for a path with ``{partition}``, by partition."""
    return at_each(pattern, _PARTITION)


def at_each(pattern: str, placeholder: str) -> dict[str, Path]:
    """The paths that exist for a path with a placeholder, by what it stands for."""
    first, *others = pattern.split(placeholder)
    # the placeholder stands for the same text wherever it is
    exactly = re.compile(re.escape(first) + "([^/]+)" + r"\1".join(map(re.escape, others)))
    paths = sorted(glob("*".join(map(escape, (first, *others)))))
    return {match[1]: Path(path) for path in paths if (match := exactly.fullmatch(path))}


def work_directories(config: RunConfig) -> list[WorkPaths]:
    """The work directory of a volume, or one for each partition that has been worked."""
    pattern = config.paths.work
    if _PARTITION not in pattern:
        return [WorkPaths(Path(pattern))]
    return [WorkPaths(path) for path in at_partitions(pattern).values()]


def newest_of_run(config: RunConfig, run: str) -> Found | None:
    """The newest attempt of a run, in whatever partition; None: nothing was planned (yet)."""
    found = [one for work in work_directories(config) for one in newest_first(work, run)]
    return max(found, key=lambda f: f.time_s, default=None)


def newest_of_each(config: RunConfig) -> list[Found]:
    """The newest attempt of each work directory of a volume, newest first."""
    found = [some[0] for work in work_directories(config) if (some := newest_first(work))]
    return sorted(found, key=lambda f: -f.time_s)


def latest_attempt(
    config_path: Path, partition: str | None = None, *, verified: bool = False
) -> AttemptPaths:
    """The newest attempt of a volume.

    Raises
    ------
    NoInputError
        There's none yet.
    """
    config = load_config(config_path, partition=partition)
    require_partition(config, str(config_path))
    work = WorkPaths(Path(config.paths.work))
    ended = newest_first(work, by=results.ended_s) if verified else newest_first(work)
    if not ended:
        raise NoInputError(
            f"{work.work} holds no run yet", f"start one: magneton run {config_path}"
        )
    return ended[0].paths


def open_latest(config_path: Path, partition: str | None = None) -> Attempt:
    """The newest attempt of a volume, to be read only.

    Raises
    ------
    NoInputError
        There's none yet.
    ConfigError
        Another version of Magneton planned it.
    """
    root = latest_attempt(config_path, partition).root
    try:
        return Attempt.open(root)
    except OtherVersionError as error:
        raise OtherVersionError(
            f"the newest run is of Magneton {error.version}, this is {__version__}: {root}",
            f"`magneton run {config_path} --dry-run` shows what is still valid; after the next run, status "
            "and report work again",
            error.version,
        ) from None
