"""HDF5 files: which part of an address is one, and how it is opened; what can be wrong with it.

Plan asks once for HDF5's lock: a file that a process writes to is refused. Whoever reads then opens
it without: many workers read one file, and a reader that holds a lock would keep the tool out that
made it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from magneton_tasks.base.failures import telling
from magneton_tasks.errors import BadDataError, ConfigError, TemporaryError

SUFFIXES = (".h5", ".hdf", ".hdf5")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Where the signature may stand: a file may begin with something else.
_STARTS = (0, *(512 << n for n in range(8)))
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


def split(path: Path) -> tuple[Path, str] | None:
    """An HDF5 file in a path, and the path of the array in it; None: there is none.

    Raises
    ------
    BadDataError
        A file is called HDF5, and isn't.
    """
    file = next((p for p in (path, *path.parents) if os.path.exists(p)), path)
    if not os.path.isfile(file):
        return None
    if not _has_signature(file):
        if file.suffix.lower() in SUFFIXES:
            raise BadDataError(
                f"{file} isn't an HDF5 file: it has no signature",
                "is it still being copied, or damaged? Take it from where it was made again",
            )
        return None
    return file, str(PurePosixPath(path.relative_to(file)))


def _has_signature(file: Path) -> bool:
    with telling(f"{file} can't be read"), file.open("rb") as stream:
        for start in _STARTS:
            stream.seek(start)
            found = stream.read(len(_SIGNATURE))
            if found == _SIGNATURE:
                return True
            if len(found) < len(_SIGNATURE):
                return False
    return False


@contextmanager
def opening(file: Path) -> Iterator[Any]:
    """The file, opened for reading without a lock.

    Raises
    ------
    BadDataError
        It is damaged, or whoever wrote it didn't close it.
    ConfigError
        h5py isn't installed.
    """
    import h5py

    try:
        opened = h5py.File(file, "r", locking=False)
    except OSError as error:
        if error.errno is None:  # HDF5's own word on what is in the file
            raise damaged(file, error) from error
        with telling(str(file)):
            raise
    with opened:
        yield opened


def ask_lock(file: Path) -> bool:
    """Ask for the lock that HDF5 asks for where it reads; False: the file system has none.

    HDF5 itself would refuse where this process has the file open without a lock.

    Raises
    ------
    TemporaryError
        A process writes to it.
    """
    with telling(f"{file} can't be read"), file.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TemporaryError(
                f"{file}: a process has it open for writing", "close it there, or wait, and rerun"
            ) from error
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            raise
    return True


def damaged(file: Path, error: Exception) -> BadDataError:
    """The error for a file in which HDF5 doesn't find what must be there."""
    return BadDataError(
        f"{file} can't be read as HDF5: {error}",
        "write it again, or take it from a backup; if a writer was killed, `h5clear -s` of the HDF5 tools removes its mark",
    )


def check_filters(where: str, dataset: Any) -> None:
    """Refuse an array whose chunks can't be decoded here, before one is read.

    Raises
    ------
    ConfigError
    """
    import h5py

    filters = dataset.id.get_create_plist()
    for number in range(filters.get_nfilters()):
        code, _, _, name = filters.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            said = name.decode(errors="replace").partition(";")[0].strip("\0 ") or "unknown"
            raise ConfigError(
                f"{where}: its chunks are compressed by HDF5's filter {code} ({said}), which isn't installed",
                "pip install hdf5plugin, wherever blocks are computed, and set HDF5_PLUGIN_PATH to its folder plugins",
            )
