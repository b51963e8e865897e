"""Which attempts a volume has, from its work directories alone."""

from __future__ import annotations

import glob
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.base import files
from magneton_tasks.base.json_object import json_object
from magneton_tasks.config.read import RunConfig
from magneton_tasks.work.paths import AttemptPaths, WorkPaths


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt that was planned; ``planned_s``: unix seconds, by the file system."""

    paths: AttemptPaths
    work: Path
    planned_s: float


def work_directories(config: RunConfig) -> list[Path]:
    """The work directory of a volume, or one for each partition that has been worked."""
    pattern = config.paths.work
    if "{partition}" not in pattern:
        return [Path(pattern)]
    # Several placeholders stand for the same text: what fits to a star each is looked at again.
    stars = "*".join(glob.escape(part) for part in pattern.split("{partition}"))
    return sorted(Path(p) for p in glob.glob(stars))


def newest_of_run(config: RunConfig, run_id: str) -> Found | None:
    """The newest attempt of a run; None: nothing was planned (yet)."""
    found = [
        attempt
        for work in work_directories(config)
        for attempt in _attempts(work, WorkPaths(work).run(run_id))
    ]
    return max(found, key=lambda a: a.planned_s, default=None)


def newest(work: Path) -> Found | None:
    """The newest attempt of any run in a work directory."""
    runs = WorkPaths(work).runs
    found = [a for name in files.listdir(runs) for a in _attempts(work, runs / name)]
    return max(found, key=lambda a: a.planned_s, default=None)


def _attempts(work: Path, run: Path) -> list[Found]:
    found = []
    with suppress(NotADirectoryError):
        for name in files.listdir(run):
            paths = AttemptPaths(run / name)
            planned_s = files.modified_s(paths.plan) if name.isdigit() else None
            if planned_s is not None:
                found.append(Found(paths, work, planned_s))
    return found


def run_id_of(found: Found) -> str:
    """The run's own id: a directory's name is made safe for file systems."""
    with files.open_read(found.paths.plan) as file:
        return str(json_object(file.read())["run"])
