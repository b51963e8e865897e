"""Folders that somebody else made and this user can't write to: found before work starts.

A work directory may be shared by a group. What one member began another can finish and clean where
folders bear the group's write bit (umask 002) and hand their group on (setgid).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from magneton_tasks.base.location import locate
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import OutputError
from magneton_tasks.plan.plan import Fingerprints
from magneton_tasks.plan.stage_table import CHOICE_OF
from magneton_tasks.work.paths import WorkPaths, stage_folder

#: How deep folders lie that are looked at; below are those of single blocks, by the thousand.
_DEPTH = 2


def check_places(config: RunConfig) -> None:
    """Refuse to write to a work directory or an output that this user can't write to.

    Raises
    ------
    OutputError
        There is one; says whose it is, and what helps.
    """
    output = locate(config.paths.output).path
    work = WorkPaths(Path(config.paths.work))
    _refuse([work.work, work.runs, *([output] if output else [])])


def check_folders(config: RunConfig, fingerprints: Fingerprints) -> None:
    """Refuse where a folder of these results is in the way of a rerun. Raises as `check_places`."""
    work, output = WorkPaths(Path(config.paths.work)), locate(config.paths.output).path
    for stage in CHOICE_OF:
        _refuse(_folders(work.work / stage_folder(stage, fingerprints.of(stage)), _DEPTH))
    if output is not None:
        _refuse(_folders(output, 1))


def check_removal(paths: Iterable[Path]) -> None:
    """Refuse to remove folders of which some could not be emptied. Raises as `check_places`."""
    for path in paths:
        _refuse([path.parent, *_folders(path, None)])


def _refuse(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            status = path.stat()
            raise OutputError(
                f"{path} belongs to {_user(status.st_uid)} (mode {status.st_mode & 0o7777:04o}): "
                f"{_user(os.getuid())} can't write there",
                "its owner lets the group write: chmod -R g+rwX on it, chmod g+s on its folders; "
                "umask 002 keeps it so for what comes; `magneton doctor CONFIG --user NAME` looks for others",
            )


def _folders(path: Path, depth: int | None) -> Iterator[Path]:
    """A folder and those in it, links not followed; None: all the way down."""
    if path.is_symlink() or not path.is_dir():
        return
    yield path
    if depth == 0:
        return
    with suppress(PermissionError), os.scandir(path) as entries:  # told by whoever asked
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _folders(path / entry.name, None if depth is None else depth - 1)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
