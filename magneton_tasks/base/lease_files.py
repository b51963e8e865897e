"""A lease as a file ``lease`` in the directory that it guards; standard library only.

Made by exclusive creation (`os.link` of a finished file, which is atomic on NFS too; no flock,
which some Lustre mounts lack). A heartbeat rewrites the file in place, through a descriptor on
which it was found to be ours: should another run have replaced the file meanwhile, the beat meets
the old one and harms nobody. Age is counted from the file's modification time to that of a new
file in the same directory: both come from the clock of the file server, so clocks of machines may
differ.

Breaking a stale lease is guarded by a second exclusive file, so that of several breakers one
wins, and none removes the lease that another has just made.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from magneton_tasks.base import exclusive, files
from magneton_tasks.base.lease_holder import LEASE_NAME, LENGTH, Holder, refuse_unless_stale
from magneton_tasks.errors import LeaseHeldError, OutputError

#: Whoever breaks a lease needs milliseconds; a breaker's file this old (s) is of a dead one.
_BREAKER_STALE_S = 60.0


class FileLease:
    """The lease of a directory; what `base.lease.Guard` asks for."""

    def __init__(self, directory: Path) -> None:
        self._path = directory.absolute() / LEASE_NAME
        self.name = str(self._path)

    def take(self, holder: Holder, stale_s: float) -> bool:
        """Whether the lease was taken anew; False where it was this run's already."""
        path = self._path
        if _beat(
            path, holder
        ):  # nothing new is written: a full disk doesn't stop a run that has it
            return False
        files.make_directory(path.parent)
        temporary = path.parent / f".{path.name}.{files.unique_suffix()}.tmp"
        try:
            files.write_atomic(temporary, holder.to_bytes(), sync_parent=False)
            for _ in range(3):  # it may be released or broken between two looks
                if exclusive.place(temporary, path):
                    return True
                if _beat(path, holder):
                    return False
                found = _look(path)
                if found is not None:
                    _break_or_refuse(path, temporary, found, stale_s)
            raise LeaseHeldError(f"the lease {path} changes hands all the time", "try again later")
        finally:
            with suppress(OSError):
                temporary.unlink()

    def beat(self, holder: Holder) -> bool:
        """Renew the lease if it is this run's; False where it's gone or another's."""
        return _beat(self._path, holder)

    def look(self) -> tuple[Holder, float] | None:
        """Who holds it, and how long ago it last beat, in seconds; None where it's free."""
        found = _look(self._path)
        return None if found is None else (found[0], max(time.time() - found[1], 0.0))

    def give_back(self, holder: Holder) -> None:
        """Remove the lease if it is this run's."""
        try:
            with open(self._path, "rb") as file:
                if Holder.from_bytes(file.read(LENGTH)).run != holder.run:
                    return
                # Fresh, so that nobody breaks it before it goes. Nothing is written: a disk may be full.
                with suppress(OSError):
                    os.utime(file.fileno())
                if os.fstat(file.fileno()).st_nlink > 0:
                    self._path.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except PermissionError:
            return  # another user's
        except OSError as error:
            raise files.writing_failed(self._path, error) from error


def _break_or_refuse(
    path: Path, temporary: Path, found: tuple[Holder, float], stale_s: float
) -> None:
    """Remove a lease that nobody keeps any more.

    Raises
    ------
    LeaseHeldError
        Its holder lives, or somebody else is breaking it right now.
    """
    holder, modified_s = found
    age_s = temporary.stat().st_mtime - modified_s
    refuse_unless_stale(str(path.parent), str(path), holder, age_s, stale_s)
    breaker = path.with_name(f"{path.name}.breaking")
    if not exclusive.place(temporary, breaker):
        with suppress(FileNotFoundError):
            if temporary.stat().st_mtime - breaker.stat().st_mtime > _BREAKER_STALE_S:
                breaker.unlink()  # left by a breaker that was killed; the next try may go on
        raise LeaseHeldError(
            f"another run is taking over the stale lease {path} of {holder}", "try again later"
        )
    try:
        if _look(path) == found:  # nobody was faster
            path.unlink(missing_ok=True)
    finally:
        breaker.unlink(missing_ok=True)


def _beat(path: Path, holder: Holder) -> bool:
    """Renew the lease in place if it is this run's; False where it's gone or another's."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return False  # another user's
    except OSError as error:
        raise files.writing_failed(path, error) from error
    try:
        found = Holder.from_bytes(os.pread(descriptor, LENGTH, 0))
        if found.run != holder.run:
            return False
        os.pwrite(descriptor, found.beaten_by(holder).to_bytes(), 0)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_nlink > 0
    except OSError as error:
        raise files.writing_failed(path, error) from error
    finally:
        os.close(descriptor)


def _look(path: Path) -> tuple[Holder, float] | None:
    """Who holds it, and when it was last written (the file server's time)."""
    try:
        with open(path, "rb") as file:
            return Holder.from_bytes(file.read()), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"can't read {path}: {error.strerror}", "fix it, then rerun") from error
