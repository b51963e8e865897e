"""What a folder of the work directory holds, and what of it isn't ours; links aren't followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from magneton_tasks.clean.names import Folder, is_temporary
from magneton_tasks.errors import OutputError

LINK = "a link: never followed, never removed"


@dataclass
class Scanned:
    """What a folder holds: regular files that are ours in sum, all else one by one."""

    bytes: int = 0
    files: int = 0
    modified_s: float = 0.0
    temporaries: list[tuple[str, int, float]] = field(default_factory=list)
    alone: list[tuple[str, str]] = field(default_factory=list)


def foreign(entry: os.DirEntry[str], folder: Folder, device: int) -> str | None:
    """Why an entry of a folder isn't known to be ours; None where it is."""
    if entry.is_symlink():
        return LINK
    if entry.is_dir(follow_symlinks=False):
        if folder.folder(entry.name) is None:
            return "not ours"
        if entry.stat(follow_symlinks=False).st_dev != device:
            return "another file system is mounted here"
        return None
    if not entry.is_file(follow_symlinks=False) or not folder.has_file(entry.name):
        return "not ours"
    return None


def scan(path: Path, relative: str, folder: Folder, device: int, scanned: Scanned) -> None:
    """Add up what a folder of ours holds; links aren't followed."""
    try:
        if not stat.S_ISDIR(os.stat(path, follow_symlinks=False).st_mode):
            scanned.alone.append((relative, LINK))
            return
        with os.scandir(path) as entries:
            for entry in entries:
                name = f"{relative}/{entry.name}"
                reason = foreign(entry, folder, device)
                if reason is not None:
                    scanned.alone.append((name, reason))
                elif entry.is_dir(follow_symlinks=False):
                    inner = folder.folder(entry.name)
                    assert inner is not None
                    scan(path / entry.name, name, inner, device, scanned)
                else:
                    _add(entry, name, scanned)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"can't read {path}: {error.strerror}", "fix the permissions or the file system"
        ) from error


def scan_files(
    path: Path, relative: str, names: Collection[str], folder: Folder, device: int, scanned: Scanned
) -> None:
    """As `scan`, of some files of a folder alone."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in names and foreign(entry, folder, device) is None:
                _add(entry, f"{relative}/{entry.name}", scanned)


def _add(entry: os.DirEntry[str], name: str, scanned: Scanned) -> None:
    status = entry.stat(follow_symlinks=False)
    scanned.bytes += status.st_size
    scanned.files += 1
    scanned.modified_s = max(scanned.modified_s, status.st_mtime)
    if is_temporary(entry.name) or "/.layers." in name:
        scanned.temporaries.append((name, status.st_size, status.st_mtime))


def is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def left_in_output(root: Path) -> Iterator[tuple[Path, int, int]]:
    """Folders of the output with temporaries of killed writers: their number and bytes."""
    for directory in (root, *_folders(root)):
        with suppress(OSError):
            sizes = [
                entry.stat(follow_symlinks=False).st_size
                for entry in os.scandir(directory)
                if is_temporary(entry.name) and entry.is_file(follow_symlinks=False)
            ]
            if sizes:
                yield directory, len(sizes), sum(sizes)


def _folders(root: Path) -> Iterable[Path]:
    with suppress(OSError):
        return sorted(Path(e.path) for e in os.scandir(root) if e.is_dir(follow_symlinks=False))
    return ()
