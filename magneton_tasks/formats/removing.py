"""Removing files of an output, each only if it is still the one that was listed.

Nothing is followed: a name that climbs out, a link, or a folder behind a link stays, and so does a file
of another size or checksum than listed: somebody else has written it since. In a bucket the size
alone tells, as a checksum would cost a download of each.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby, islice
from typing import NamedTuple

from magneton_tasks.base.buckets import open_bucket
from magneton_tasks.base.lease import LEASE_NAME
from magneton_tasks.errors import OutputError
from magneton_tasks.formats.listed import LIST_FILE, Listed, is_below
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import OWNER_FILE

#: What tells of a result, whichever that is.
_OURS = frozenset({"info", OWNER_FILE, LIST_FILE, LEASE_NAME})
_READ_BYTES = 1 << 20
#: Files that are removed together; threads, which wait for the disk.
_TOGETHER, _REMOVERS = 1000, 8

CLIMBS = "it isn't a name below the output"
LINKED = "its folder is a link, or no folder"
NO_FILE = "it is no plain file"
OTHER_SIZE = "it has another size than listed"
OTHER_BYTES = "it has another checksum than listed"


class Fate(NamedTuple):
    """What became of a listed file; ``kept``: why it stays, None: it is gone."""

    name: str
    kept: str | None


def remove(objects: Objects, listed: Iterable[Listed]) -> Iterator[Fate]:
    """Remove files below an output, and folders that are empty then; of one that is gone nothing is told.

    Parameters
    ----------
    listed
        By name.

    Raises
    ------
    OutputError, TemporaryError
        One may not be removed; the file system, or the connection, failed.
    """
    ours = (file for file in listed if file.name not in _OURS)
    for folder, files in groupby(ours, key=lambda file: file.name.rpartition("/")[0]):
        if folder and not is_below(folder):
            yield from (Fate(file.name, CLIMBS) for file in files)
        elif objects.is_local:
            yield from _in_folder(objects, folder, files)
        else:
            yield from _in_bucket(objects, folder, files)


def _in_bucket(objects: Objects, folder: str, files: Iterator[Listed]) -> Iterator[Fate]:
    bucket, sizes = open_bucket(objects.location.url), objects.sizes(folder)
    while some := list(islice(files, _TOGETHER)):
        there = [file for file in some if _last(file.name) in sizes]
        same = [file.name for file in there if sizes[_last(file.name)] == file.size]
        bucket.remove(same)
        removed = set(same)
        for file in there:
            yield Fate(file.name, None if file.name in removed else OTHER_SIZE)


def _in_folder(objects: Objects, folder: str, files: Iterator[Listed]) -> Iterator[Fate]:
    root = objects.path("")
    try:
        descriptor = _open_below(root, folder)
    except FileNotFoundError:
        return
    except NotADirectoryError:  # O_NOFOLLOW says so of links, too
        yield from (Fate(file.name, LINKED) for file in files)
        return
    except OSError as error:
        raise _failed(objects, folder, error) from error

    def one(file: Listed) -> Fate | None:
        try:
            return Fate(file.name, _unlink(descriptor, file))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(objects, file.name, error) from error

    try:
        with ThreadPoolExecutor(_REMOVERS) as threads:
            while some := list(islice(files, _TOGETHER)):
                yield from filter(None, threads.map(one, some))
    finally:
        os.close(descriptor)
    _remove_empty(root, folder)


def _open_below(root: os.PathLike[str], folder: str) -> int:
    """The folder's descriptor; no part of its path below ``root`` is a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    for part in folder.split("/") if folder else ():
        try:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _unlink(folder: int, file: Listed) -> str | None:
    """Remove a file that is as listed; why it isn't."""
    if not is_below(file.name):
        return CLIMBS
    name = _last(file.name)
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(found.st_mode):
        return NO_FILE
    if found.st_size != file.size:
        return OTHER_SIZE
    if file.crc32 is not None and _crc32(folder, name) != file.crc32:
        return OTHER_BYTES
    os.unlink(name, dir_fd=folder)
    return None


def _crc32(folder: int, name: str) -> int:
    flags, crc32 = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0
    with open(os.open(name, flags, dir_fd=folder), "rb", buffering=0) as opened:
        while data := opened.read(_READ_BYTES):
            crc32 = zlib.crc32(data, crc32)
    return crc32


def _remove_empty(root: os.PathLike[str], folder: str) -> None:
    """Remove a folder, and those that it lies in, as far as they are empty."""
    while folder:
        parent, _, name = folder.rpartition("/")
        with suppress(OSError):  # not empty, or not ours to remove
            above = _open_below(root, parent)
            try:
                os.rmdir(name, dir_fd=above)
            finally:
                os.close(above)
        folder = parent


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _failed(objects: Objects, name: str, error: OSError) -> OutputError:
    return OutputError(
        f"can't remove {objects.location.name_of(name)}, which an earlier result left: {error.strerror}",
        "give this user the right to remove it, or remove it yourself, then rerun",
    )
