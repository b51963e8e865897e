"""Removes folders of a work directory: put aside by one rename, then deleted.

::

    work/segment-<fingerprint>/labels.zarr  ->  work/.clean-<...>/segment-<fingerprint>/labels.zarr  ->  nothing

Readers see a folder or none, never half of one; what a kill leaves in ``.clean-<...>`` the next
clean deletes. Every folder is opened relative to the one above it and never through a link, and
every name is looked up again in `clean.names` before it goes.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from magneton_tasks.base import files
from magneton_tasks.clean.find import Alone, Item
from magneton_tasks.clean.names import TRASH, Folder, folder_of
from magneton_tasks.clean.scan import LINK, foreign
from magneton_tasks.errors import MagnetonError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: What goes first of a folder that can't go as a whole: no record may name what is gone.
_FIRST = ("records", "plan.json")


@dataclass
class Removed:
    """What was freed, item by item, and what stayed after all."""

    bytes: int = 0
    files: int = 0
    items: list[Item] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)


class Remover:
    """Works relative to open folders, so that no link put in the way leads out of the work directory."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.removed = Removed()
        self._fd = os.open(os.path.realpath(work), _FOLDER)
        self._device = os.fstat(self._fd).st_dev
        self._trash = f".clean-{files.unique_suffix()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def remove(self, item: Item) -> None:
        """Put aside, then delete."""
        removed = self.removed
        removed.items.append(item)
        try:
            for part in item.parts:
                if item.kind == "temporaries" or folder_of(part) is None:
                    self._unlink(part)
                elif item.kind == "leftovers":
                    self._delete(part)
                else:
                    self._put_aside(part)
            self._delete(self._trash)
        except OSError as error:
            raise files.writing_failed(item.path, error) from error

    def _leave(self, relative: str, reason: str) -> None:
        self.removed.alone.append(Alone(self.work / relative, reason))

    # ------------------------------------------------------------------ folders, opened one by one
    def _open(self, relative: PurePosixPath, *, make: bool = False) -> int:
        """A folder below the work directory; none of its parents is a link."""
        fd = os.dup(self._fd)
        for name in relative.parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=fd)
            try:
                inner = os.open(name, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _open_ours(self, parent: int, name: str, relative: str) -> int | None:
        """A folder of a folder; None where it is gone, a link, or on another file system."""
        try:
            fd = os.open(name, _FOLDER, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                self._leave(relative, LINK)
            elif error.errno != errno.ENOENT:
                raise
            return None
        if os.fstat(fd).st_dev != self._device:
            self._leave(relative, "another file system is mounted here")
            os.close(fd)
            return None
        return fd

    # ------------------------------------------------------------------ putting aside
    def _put_aside(self, part: str) -> None:
        path, folder = PurePosixPath(part), folder_of(part)
        if folder is None:
            raise MagnetonError(f"{part} isn't known to be ours")
        try:
            parent = self._open(path.parent)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
                raise
            self._leave(part, LINK)
            return
        aside = self._open(PurePosixPath(self._trash) / path.parent, make=True)
        try:
            self._move(parent, path.name, folder, aside, part)
            for fd in (parent, aside):
                with suppress(OSError):
                    os.fsync(fd)
        finally:
            os.close(parent)
            os.close(aside)
        if path.parts[0] == "runs":
            self._remove_empty(path.parent)

    def _remove_empty(self, path: PurePosixPath) -> None:
        """A run of which no attempt is left."""
        above = self._open(path.parent)
        try:
            with suppress(OSError):
                os.rmdir(path.name, dir_fd=above)
        finally:
            os.close(above)

    def _move(self, parent: int, name: str, folder: Folder, aside: int, relative: str) -> None:
        fd = self._open_ours(parent, name, relative)
        if fd is None:
            return
        try:
            if self._is_ours(fd, folder):
                os.rename(name, name, src_dir_fd=parent, dst_dir_fd=aside)
                moved = os.stat(name, dir_fd=aside, follow_symlinks=False)
                if not os.path.samestat(moved, os.fstat(fd)):  # exchanged since it was opened
                    os.rename(name, name, src_dir_fd=aside, dst_dir_fd=parent)
                    self._leave(relative, "was exchanged while it was looked at")
                return
            os.mkdir(name, dir_fd=aside)
            inner_aside = os.open(name, _FOLDER, dir_fd=aside)
            try:
                self._move_some(fd, folder, inner_aside, relative)
            finally:
                os.close(inner_aside)
        finally:
            os.close(fd)
        with suppress(OSError):  # what isn't ours is still there
            os.rmdir(name, dir_fd=parent)

    def _move_some(self, fd: int, folder: Folder, aside: int, relative: str) -> None:
        """What is ours of a folder that also holds something else."""
        with os.scandir(fd) as entries:
            listed = sorted(entries, key=lambda e: (e.name not in _FIRST, e.name))
        for entry in listed:
            path = f"{relative}/{entry.name}"
            reason, inner = foreign(entry, folder, self._device), folder.folder(entry.name)
            if reason is not None:
                self._leave(path, reason)
            elif entry.is_dir(follow_symlinks=False) and inner is not None:
                self._move(fd, entry.name, inner, aside, path)
            else:
                os.rename(entry.name, entry.name, src_dir_fd=fd, dst_dir_fd=aside)

    def _is_ours(self, fd: int, folder: Folder) -> bool:
        """Whether a folder holds nothing that isn't ours, at any depth."""
        with os.scandir(fd) as entries:
            for entry in entries:
                if foreign(entry, folder, self._device) is not None:
                    return False
                inner = folder.folder(entry.name)
                if inner is None or not entry.is_dir(follow_symlinks=False):
                    continue
                child = os.open(entry.name, _FOLDER, dir_fd=fd)
                try:
                    if not self._is_ours(child, inner):
                        return False
                finally:
                    os.close(child)
        return True

    # ------------------------------------------------------------------ deleting
    def _unlink(self, part: str) -> None:
        """One file."""
        path = PurePosixPath(part)
        folder = folder_of(str(path.parent))
        if folder is None or not folder.has_file(path.name):
            raise MagnetonError(f"{part} isn't known to be ours")
        parent = self._open(path.parent)
        try:
            with suppress(FileNotFoundError):
                size = os.stat(path.name, dir_fd=parent, follow_symlinks=False).st_size
                os.unlink(path.name, dir_fd=parent)
                self.removed.bytes += size
                self.removed.files += 1
        finally:
            os.close(parent)

    def _delete(self, name: str) -> None:
        """What was put aside."""
        fd = self._open_ours(self._fd, name, name)
        if fd is None:
            return
        try:
            self._empty(fd, TRASH, name)
        finally:
            os.close(fd)
        with suppress(OSError):
            os.rmdir(name, dir_fd=self._fd)

    def _empty(self, fd: int, folder: Folder, relative: str) -> None:
        with os.scandir(fd) as entries:
            listed = list(entries)
        for entry in listed:
            path = f"{relative}/{entry.name}"
            reason, inner = foreign(entry, folder, self._device), folder.folder(entry.name)
            if reason is not None:
                self._leave(path, reason)
            elif entry.is_dir(follow_symlinks=False) and inner is not None:
                child = self._open_ours(fd, entry.name, path)
                if child is not None:
                    try:
                        self._empty(child, inner, path)
                    finally:
                        os.close(child)
                    with suppress(OSError):
                        os.rmdir(entry.name, dir_fd=fd)
            else:
                size = entry.stat(follow_symlinks=False).st_size
                os.unlink(entry.name, dir_fd=fd)
                self.removed.bytes += size
                self.removed.files += 1
