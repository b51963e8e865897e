"""From a request's path to a volume's file: which names are a volume's, byte ranges, encodings."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from magneton_tasks.formats.info import ENCODING_OF

_PRECOMPUTED = re.compile(
    r"(?:[^/]+/)?info"
    r"|(?:[^/]+/)+-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+"
    r"|(?:[^/]+/)+[0-9a-f]+\.shard"
    r"|[^/]+/\d+(?:\.index|:\d+(?::[\w.-]+)?)?"  # meshes and skeletons that aren't sharded
)
_ZARR = re.compile(
    r"(?:[^/]+/)*(?:zarr\.json|\.zarray|\.zattrs|\.zgroup|(?:c[./])?\d+(?:[./]\d+)*)"
)
#: What opening a path raises where there's no such file for us.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO})


class UnsatisfiableRangeError(Exception):
    """The range lies beyond the file: status 416."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file of a volume, opened.

    Attributes
    ----------
    descriptor
        To be closed (`close`) by whoever got it.
    size
        In bytes, as stored.
    etag
        Changes when the file is replaced or written to.
    encoding
        ``gzip``, ``br`` or ``zstd`` where the file is a compressed form of what was asked for.
    path
        For messages.
    """

    descriptor: int
    size: int
    etag: str
    encoding: str | None
    path: str

    def close(self) -> None:
        os.close(self.descriptor)


def is_volume_file(format: str, name: str) -> bool:  # noqa: A002 (the field's word)
    """Whether a path below a volume can be one of its files: metadata, a chunk, a shard, a mesh."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return False
    pattern = _PRECOMPUTED if format == "precomputed" else _ZARR
    return pattern.fullmatch(name) is not None


def open_inside(root: Path, name: str, format: str) -> OpenFile | None:  # noqa: A002
    """Open a file of a volume; None where there's none, or where a link leads out of it.

    Parameters
    ----------
    root
        The volume's directory, a real path.
    name
        Relative path, as asked for: without a compression's suffix.
    format
        ``precomputed``, ``zarr2`` or ``zarr3``.

    Raises
    ------
    OSError
        It is there and can't be read.
    """
    if not is_volume_file(format, name):
        return None
    suffixes = ENCODING_OF if format == "precomputed" else {"": None}
    for suffix, encoding in suffixes.items():
        path = f"{root}/{name}{suffix}"
        try:
            # Not blocking: a pipe that somebody has put there must not hold a thread.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            raise
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and _lies_in(root, descriptor):
            etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'
            return OpenFile(descriptor, status.st_size, etag, encoding, path)
        os.close(descriptor)
    return None


def _lies_in(root: Path, descriptor: int) -> bool:
    """Whether an open file is below ``root``: where it really is, whatever links led to it."""
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{root}/")


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open byte range that a ``Range`` header asks for; None: send the whole file.

    Several ranges, other units and nonsense count as no header, as HTTP allows.

    Raises
    ------
    UnsatisfiableRangeError
        It begins at or behind the end of the file.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", header or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(size - int(match[2]), 0), size
    else:
        begin = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < begin:
            return None
    if begin >= end:
        raise UnsatisfiableRangeError
    return begin, end


def has_etag(header: str | None, etag: str) -> bool:
    """Whether an ``If-None-Match`` (or ``If-Range``) header names this etag."""
    tags = [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]
    return etag in tags or tags == ["*"]


def accepts(header: str | None, encoding: str) -> bool:
    """Whether an ``Accept-Encoding`` header takes an encoding; without the header, anything goes."""
    if header is None:
        return True
    wanted = {}
    for part in header.lower().split(","):
        name, _, quality = part.partition(";")
        wanted[name.strip()] = quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return wanted.get(encoding, wanted.get("*", False))
