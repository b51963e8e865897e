"""Files that are made once: of several who make one at the same time, one wins."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from magneton_tasks.base import files


def create(path: Path, data: bytes) -> bool:
    """Write a file, unless one is there; whether it was this one.

    It appears whole, and survives a power loss; parent directories are made.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    temporary = path.parent / f".{path.name}.{files.unique_suffix()}.tmp"
    files.write_atomic(temporary, data, sync_parent=False)
    try:
        is_new = place(temporary, path)
        files.sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return is_new


def place(temporary: Path, path: Path) -> bool:
    """Give a finished file another name, unless a file is there; whether it was this one.

    Where there are no hard links, a reader may see it half written for a moment.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS: the answer got lost, the repeated request met the link that the first had made.
        with suppress(FileNotFoundError):
            return os.path.samestat(temporary.stat(), path.stat())
        return False
    except OSError:
        return _create(path, temporary.read_bytes())
    return True


def _create(path: Path, content: bytes) -> bool:
    """The same without hard links, which some FUSE file systems don't have."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    except OSError as error:
        raise files.writing_failed(path, error) from error
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True
