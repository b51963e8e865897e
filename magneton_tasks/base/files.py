"""The one place where bytes meet the disk: atomic writes, and reads that know of lag.

Writes go to a temporary name in the same directory, are synced, renamed into place, and the
directory is synced: a reader sees the old file, the new file or none, whatever is killed when.

Shared file systems (NFS, Lustre, GPFS, ...) show new files late, for about a minute. Whoever
expects a file that a record names looks again (`await_files`, `read_recorded`), with the
directory re-opened each time, before it counts as missing.

Other modules list, stat and open files through `listdir`, `stat_size` and `open_read`. These go
through the object `disk`, and time through `clock` and `sleep`: tests replace the three to
make files lag without waiting.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from magneton_tasks.base.error_meanings import Kind, kind_of
from magneton_tasks.base.failures import FREE_SPACE
from magneton_tasks.base.mounts import mount_of
from magneton_tasks.base.units import human_time
from magneton_tasks.errors import CorruptFileError, NotVisibleError, OutputError

Buffer = bytes | bytearray | memoryview

#: First and longest pause between two looks at a file that isn't there yet, in seconds.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 5.0

#: Bytes read at a time to sum a file up.
_READ_BYTES = 1 << 20

#: `.<name>.<host>-<pid>-<random>.tmp`
_TEMPORARY = re.compile(r"\..+\.[A-Za-z0-9_.-]+-\d+-[0-9a-f]{8}\.tmp")

#: How a line begins that says what was moved out of the way.
MOVED_ASIDE = "MOVED ASIDE: "

#: What a directory's fsync answers where the file system doesn't know such a thing.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS}


class Disk:
    """What the project asks the file system when it reads; `disk` is the one instance."""

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)

    def stat(self, path: Path) -> os.stat_result:
        return os.stat(path)

    def open_read(self, path: Path) -> BinaryIO:
        return open(path, "rb")


disk = Disk()
clock: Callable[[], float] = time.monotonic
sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a record keeps of a file: size in bytes and CRC-32 of all of them."""

    size: int
    crc32: int


# ---------------------------------------------------------------------------- looking


def listdir(path: Path) -> list[str]:
    """Names in a directory, sorted, without our temporaries; none where it doesn't exist."""
    try:
        names = disk.listdir(path)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if not is_temporary(name))


def stat_size(path: Path) -> int | None:
    """Size in bytes; None where the file isn't there (or not yet)."""
    try:
        return disk.stat(path).st_size
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}:
            return None
        raise reading_failed(path, error) from error


def modified_s(path: Path) -> float | None:
    """Time of the last change in unix seconds; None where the file isn't there."""
    try:
        return disk.stat(path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def crc32_of(path: Path) -> int:
    """CRC-32 of a file's bytes.

    Raises
    ------
    OutputError
        The file isn't there, or the file system failed.
    """
    crc32 = 0
    try:
        with open_read(path) as file:
            while data := file.read(_READ_BYTES):
                crc32 = zlib.crc32(data, crc32)
    except OSError as error:
        raise reading_failed(path, error) from error
    return crc32


def open_read(path: Path) -> BinaryIO:
    """The file, opened for reading; FileNotFoundError where it isn't there."""
    return disk.open_read(path)


def pauses() -> Iterable[float]:
    """Seconds between looks: 0.05, doubling up to 5."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def await_files(sizes: Mapping[Path, int | None], wait_s: float) -> dict[Path, int | None]:
    """Look until every file is there with its recorded size, or ``wait_s`` has passed.

    Parameters
    ----------
    sizes
        Recorded size in bytes of each path; None: any size will do.
    wait_s
        Seconds to wait, for all of them together. A wrong size is waited for only where
        attributes may be cached (network file systems).

    Returns
    -------
    dict
        The files that failed: None where missing, else the wrong size found.
    """
    deadline = clock() + wait_s
    failed = _failed(sizes)
    for pause in pauses():
        hopeful = [p for p, found in failed.items() if found is None or is_network_filesystem(p)]
        left = deadline - clock()
        if not hopeful or left <= 0:
            break
        sleep(min(pause, left))
        for parent in {path.parent for path in hopeful}:
            with suppress(OSError):  # re-opening the directory makes NFS ask its server
                disk.listdir(parent)
        failed = _failed({path: sizes[path] for path in failed})
    return failed


def _failed(sizes: Mapping[Path, int | None]) -> dict[Path, int | None]:
    looked = ((path, size, stat_size(path)) for path, size in sizes.items())
    return {
        path: found
        for path, size, found in looked
        if found is None or (size is not None and found != size)
    }


def await_file(path: Path, size: int | None, wait_s: float) -> None:
    """Wait for one recorded file.

    Raises
    ------
    NotVisibleError
        It isn't there after ``wait_s``.
    CorruptFileError
        It is there with another size.
    """
    failed = await_files({path: size}, wait_s)
    if path not in failed:
        return
    found = failed[path]
    if found is None:
        raise NotVisibleError(
            f"{path} is recorded as written but did not show up within {human_time(wait_s)}",
            "rerun; if it was deleted, the rerun computes it again; if the file system is slow, "
            "raise visibility_wait",
        )
    raise CorruptFileError(
        f"{path} has {found} bytes; its record says {size}",
        "rerun: what the file held is computed again",
    )


def read_recorded(path: Path, size: int, wait_s: float, crc32: int | None = None) -> bytes:
    """All bytes of a recorded file, waited for and checked.

    Raises
    ------
    NotVisibleError, CorruptFileError
        As `await_file`; CorruptFileError also where the CRC-32 differs.
    OutputError
        The file system failed.
    """
    deadline = clock() + wait_s
    for pause in pauses():
        await_file(path, size, max(deadline - clock(), 0.0))
        try:
            with open_read(path) as file:
                data = file.read()
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ESTALE} or clock() >= deadline:
                raise reading_failed(path, error) from error
        else:
            if len(data) == size and (crc32 is None or zlib.crc32(data) == crc32):
                return data
            # An older file of the same size may still be cached: rewritten blocks have that.
            if clock() >= deadline or not is_network_filesystem(path):
                break
        sleep(min(pause, max(deadline - clock(), 0.0)))
    raise CorruptFileError(
        f"{path} does not have the checksum of its record",
        "rerun: what the file held is computed again",
    )


def reading_failed(path: Path, error: OSError) -> OutputError:
    """The OutputError for an OSError met while reading ``path``."""
    return OutputError(
        f"can't read {path}: {error.strerror or error}",
        "fix the file system or the permissions, then rerun; finished work stays",
    )


# ---------------------------------------------------------------------------- writing


def host_name() -> str:
    """The name of this machine, made safe for file names."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname())[:48] or "host"


def unique_suffix() -> str:
    """``<host>-<pid>-<random>``: differs between machines, processes and calls."""
    return f"{host_name()}-{os.getpid()}-{os.urandom(4).hex()}"


def is_temporary(name: str) -> bool:
    """Whether a file name is one of our temporaries."""
    return name.startswith(".") and _TEMPORARY.fullmatch(name) is not None


def write_atomic(
    path: Path,
    data: Buffer | Iterable[Buffer],
    *,
    sync_parent: bool = True,
    mode: int | None = None,
    is_ours: bool = False,
) -> FileInfo:
    """Write a file that appears whole or not at all, and survives a power loss.

    Parameters
    ----------
    path
        Where to; parent directories are made, an older file is replaced.
    data
        The bytes, or pieces of them in order.
    sync_parent
        False leaves the directory's fsync to the caller (`sync_directory`), who writes many
        files into one directory.
    mode
        Permission bits, from the start; None: as umask has it.
    is_ours
        Nobody but us names files here: a directory that lies in the file's place is moved aside.

    Raises
    ------
    OutputError
        Disk full, quota, no permission, I/O error; nothing is left behind.
    """
    pieces = [data] if isinstance(data, bytes | bytearray | memoryview) else data
    with _placed(path, sync_parent, mode, is_ours) as descriptor:
        return _write_all(descriptor, pieces)


class NewFile:
    """A file under a temporary name, as `writing` yields it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = self._crc32 = 0

    @property
    def info(self) -> FileInfo:
        """Of what was written so far."""
        return FileInfo(self._size, self._crc32)

    def write(self, piece: Buffer) -> None:
        """Append; `writing` makes an OutputError of its OSError."""
        view = memoryview(piece).cast("B")
        self._crc32 = zlib.crc32(view, self._crc32)
        self._size += len(view)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def rewrite_start(self, head: bytes) -> None:
        """Put other bytes in place of as many first ones, all of which are zeros."""
        done = 0
        while done < len(head):
            done += os.pwrite(self._descriptor, head[done:], done)
        # CRC-32 is linear: what changes in the sum is what changes in that of zeros, for the same length.
        rest = self._size - len(head)
        changed = _crc32_of_zeros(rest, zlib.crc32(head))
        self._crc32 ^= changed ^ _crc32_of_zeros(self._size)


def _crc32_of_zeros(count: int, crc32: int = 0) -> int:
    """The CRC-32 after so many zeros more."""
    zeros = bytes(min(count, _READ_BYTES))
    while count:
        crc32 = zlib.crc32(zeros[:count], crc32)
        count -= min(count, len(zeros))
    return crc32


@contextmanager
def writing(path: Path) -> Iterator[NewFile]:
    """A file of ours like `write_atomic`'s, for whoever makes its pieces as they go.

    It appears when the context ends; after an exception nothing is left of it. An OSError in the
    context counts as one of writing.
    """
    with _placed(path, is_ours=True) as descriptor:
        yield NewFile(descriptor)


@contextmanager
def _placed(
    path: Path, sync_parent: bool = True, mode: int | None = None, is_ours: bool = False
) -> Iterator[int]:
    """The descriptor of a temporary file, which comes to ``path`` when all is written."""
    temporary = path.parent / f".{path.name[:120]}.{unique_suffix()}.tmp"
    try:
        descriptor = _create(temporary, 0o666 if mode is None else mode)
        try:
            yield descriptor
            if mode is not None:
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)  # some file systems report a full disk only here
        _rename(temporary, path, is_ours)
        if sync_parent:
            sync_directory(path.parent)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise writing_failed(path, error) from error
        raise


def _write_all(descriptor: int, pieces: Iterable[Buffer]) -> FileInfo:
    file = NewFile(descriptor)
    for piece in pieces:
        file.write(piece)
    return file.info


def _rename(temporary: Path, path: Path, is_ours: bool) -> None:
    try:
        os.rename(temporary, path)
    except IsADirectoryError:
        if not is_ours:
            raise
        move_aside(path, "a directory lay where a file belongs")
        os.rename(temporary, path)


def move_aside(path: Path, why: str) -> Path:
    """Give what lies in the way another name beside the old one, and say so; nothing is deleted.

    Raises
    ------
    OutputError
        It can't be renamed.
    """
    aside = path.with_name(f"{path.name[:120]}.aside-{unique_suffix()}")
    try:
        os.rename(path, aside)
        sync_directory(path.parent)
    except FileNotFoundError:
        return aside  # another process has just done it
    except OSError as error:
        raise writing_failed(path, error) from error
    print(f"{MOVED_ASIDE}{path} is now {aside}: {why}", flush=True)
    return aside


def _create(path: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        make_directory(path.parent)
        return os.open(path, flags, mode)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably; nothing happens where it exists.

    Raises
    ------
    OutputError
        It can't be made.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    try:
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise writing_failed(path, error) from error


def sync_directory(path: Path) -> None:
    """Make what was renamed into a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


#: What lets a file be written.
_TO_WRITE = {
    Kind.FULL: FREE_SPACE,
    Kind.DENIED: "give this user the right to write there",
}


def writing_failed(path: Path, error: OSError) -> OutputError:
    """The OutputError for an OSError met while writing ``path``."""
    hint = _TO_WRITE.get(kind_of(error), "fix the file system")
    reason = error.strerror or str(error)
    return OutputError(f"can't write {path}: {reason}", f"{hint}, then rerun; finished work stays")


# ---------------------------------------------------------------------------- file systems


def free_bytes(path: Path) -> int:
    """Bytes that this user may still write where ``path`` lies (or would lie)."""
    status = os.statvfs(nearest_existing(path))
    return status.f_bavail * status.f_frsize


def is_network_filesystem(path: Path) -> str | None:
    """The type of the file system (nfs4, lustre, ...) where it's a network's; None where local."""
    mount = mount_of(nearest_existing(path))
    return mount.kind if mount.is_network else None


def nearest_existing(path: Path) -> Path:
    """``path``, or its nearest ancestor that exists."""
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
