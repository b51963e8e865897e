"""The lease: one run at a time on a work directory and its output; standard library only.

A lease is a file ``lease`` in each directory it guards, made by exclusive creation (`os.link` of a
finished file, which is atomic on NFS too; no flock, which some Lustre mounts lack)::

    {"run": ..., "host": ..., "pid": ..., "boot_id": ..., "created": ..., "heartbeat": ...}

It belongs to a *run*: every process of the run may take it over and beat. A heartbeat rewrites
the file in place, through a descriptor on which it was found to be ours: should another run have
replaced the file meanwhile, the beat meets the old one and harms nobody. Age is counted from the
file's modification time to that of a new file in the same directory: both come from the clock
of the file server, so clocks of machines may differ.

Breaking a stale lease is guarded by a second exclusive file, so that of several breakers one
wins, and none removes the lease that another has just made.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from magneton_tasks import files
from magneton_tasks.errors import LeaseHeldError, OutputError

LEASE_NAME = "lease"
HEARTBEAT_S = 30.0
STALE_S = 600.0

#: A lease file's length in bytes; padded, for a heartbeat rewrites it in place.
_LENGTH = 2048
#: Whoever breaks a lease needs milliseconds; a breaker's file this old (s) is of a dead one.
_BREAKER_STALE_S = 60.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease; times in unix seconds, for people to read."""

    run: str
    host: str
    pid: int
    boot_id: str
    process_bound: bool
    created: float
    heartbeat: float

    @classmethod
    def this_process(cls, run: str, process_bound: bool) -> Holder:
        now = time.time()
        host = socket.gethostname()
        return cls(run, host, os.getpid(), _boot_id(), process_bound, now, now)

    @classmethod
    def from_bytes(cls, data: bytes) -> Holder:
        """The holder; an unknown one (run ``?``) where the file is damaged or half-written."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            return cls("?", "?", 0, "", False, 0.0, 0.0)

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode("ascii").ljust(_LENGTH - 1) + b"\n"

    @property
    def is_dead(self) -> bool:
        """Whether this holder was bound to a process of this machine that is no more."""
        if not self.process_bound or self.boot_id != _boot_id() or not self.boot_id:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # another user's process
        return False

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.created))
        return f"run {self.run!r} (host {self.host}, pid {self.pid}, since {since})"


class Lease:
    """A lease that was acquired; see `acquire`."""

    def __init__(self, paths: list[Path], holder: Holder) -> None:
        self._paths = paths
        self._holder = holder
        self.run = holder.run

    def heartbeat(self) -> None:
        """Say that this run is alive.

        Raises
        ------
        LeaseHeldError
            Another run has broken the lease (or it was removed): stop.
        OutputError
            The file system failed; the lease may still be ours.
        """
        for path in self._paths:
            if not _beat(path, self._holder):
                now = _look(path)
                raise LeaseHeldError(
                    f"the lease {path} of run {self.run!r} was lost"
                    + (f": {now[0]} has it" if now else ": the file is gone"),
                    "rerun once nothing else works on this volume; finished work stays",
                )

    def release(self) -> None:
        """Give the lease back; one that another run holds by now stays."""
        for path in self._paths:
            # The beat makes it fresh, so that nobody breaks it before it goes.
            if _beat(path, self._holder):
                path.unlink(missing_ok=True)

    @contextmanager
    def kept(self, every_s: float = HEARTBEAT_S) -> Iterator[Heart]:
        """Beat in the background while the block runs; doesn't release."""
        with Heart(self, every_s) as heart:
            yield heart

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Heart:
    """A thread that beats; threads don't survive a fork, so children never beat.

    Attributes
    ----------
    lost
        Why the lease was lost, once it is; the thread has ended then. `check` raises it.
    """

    def __init__(self, lease: Lease, every_s: float = HEARTBEAT_S) -> None:
        self.lost: LeaseHeldError | None = None
        self._lease, self._every_s = lease, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease", daemon=True)

    def _beat_on(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self._lease.heartbeat()
            except LeaseHeldError as error:
                self.lost = error
                return
            except OutputError:
                continue  # a hiccup; a lease that can't be kept alive turns stale, and is lost

    def check(self) -> None:
        """Raise the LeaseHeldError if the lease was lost: between two blocks, say."""
        if self.lost is not None:
            raise self.lost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()


def acquire(
    directories: Iterable[Path], run: str, *, process_bound: bool, stale_s: float = STALE_S
) -> Lease:
    """Take the lease of each directory, or none.

    Parameters
    ----------
    directories
        What is guarded: the work directory, and the output where it lies in a file system.
    run
        A free lease is taken, one of this run is taken over, one of another run is broken if it
        is stale, or bound to a process of this machine that is dead.
    process_bound
        Whether the run lives in this very process (``magneton run``), not in a DAG's many.
    stale_s
        Seconds without a heartbeat after which a lease of another run counts as left behind.

    Raises
    ------
    LeaseHeldError
        Another run holds one of them; names it.
    OutputError
        A lease can't be written.
    """
    holder = Holder.this_process(run, process_bound)
    paths = sorted({directory.absolute() / LEASE_NAME for directory in directories})
    taken: list[Path] = []
    try:
        for path in paths:
            if _take(path, holder, stale_s):
                taken.append(path)  # noqa: PERF401 (a failure gives back what was taken so far)
    except BaseException:
        Lease(taken, holder).release()
        raise
    return Lease(paths, holder)


def look(directory: Path) -> tuple[Holder, float] | None:
    """Who holds the lease of a directory, and how long ago it last beat, in seconds; None if free."""
    found = _look(directory / LEASE_NAME)
    return None if found is None else (found[0], max(time.time() - found[1], 0.0))


def _take(path: Path, holder: Holder, stale_s: float) -> bool:
    """Whether the lease was taken anew; False where it was this run's already."""
    files.make_directory(path.parent)
    temporary = path.parent / f".{path.name}.{files.unique_suffix()}.tmp"
    try:
        files.write_atomic(temporary, holder.to_bytes(), sync_parent=False)
        for _ in range(3):  # it may be released or broken between two looks
            if _link(temporary, path):
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
    if age_s <= stale_s and not holder.is_dead:
        raise LeaseHeldError(
            f"{path.parent} is in use by {holder}; its last sign of life was {age_s:.0f} s ago",
            f"wait until that run ends, or stop it; if it is dead, rerun in "
            f"{max(stale_s - age_s, 0):.0f} s, or remove {path} after making sure",
        )
    breaker = path.with_name(f"{path.name}.breaking")
    if not _link(temporary, breaker):
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


def _link(temporary: Path, path: Path) -> bool:
    """Exclusive creation of ``path`` with the content of ``temporary``; False where it exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS: the answer got lost, the repeated request met the link that the first had made.
        with suppress(FileNotFoundError):
            return os.path.samestat(temporary.stat(), path.stat())
        return False
    except OSError:
        return _create_exclusively(path, temporary.read_bytes())
    return True


def _create_exclusively(path: Path, content: bytes) -> bool:
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
        found = Holder.from_bytes(os.pread(descriptor, _LENGTH, 0))
        if found.run != holder.run:
            return False
        # The workers of a run that is bound to a living process beat for it, not for themselves.
        keeper = found if found.process_bound and not found.is_dead else holder
        values = asdict(keeper) | {"created": found.created, "heartbeat": time.time()}
        os.pwrite(descriptor, Holder(**values).to_bytes(), 0)
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
        raise OutputError(f"can't read {path}: {error.strerror}", "mend it, then rerun") from error


def _boot_id() -> str:
    """Names this boot of this machine, and the space its process ids live in (a container's)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""  # not Linux: no process is ever known to be dead
