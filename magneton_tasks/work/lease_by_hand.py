"""The lease of a stage that a person starts: ``magneton segment --run ATTEMPT``.

Where plan, or a runner, holds the lease of the run, such a stage only keeps it alive. Where nobody
does, it takes the lease, and gives it back at its end. Several may work at once (a batch each): each
has a shared lock of the lease's file, and the last one to end, which alone gets an exclusive one,
removes the lease. Where a file system knows no locks, the first one to end does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from magneton_tasks.base import lease
from magneton_tasks.base.lease import LEASE_NAME, Heart, Place
from magneton_tasks.errors import LeaseHeldError

_LOOKS = 5


@contextmanager
def kept(places: list[Place], run: str) -> Iterator[Heart]:
    """Have the lease while the block runs.

    Parameters
    ----------
    places
        As `base.lease.acquire`; the work directory, a path, first.

    Raises
    ------
    LeaseHeldError, OutputError, TemporaryError, NoInputError
        As `base.lease.acquire`.
    """
    work = places[0]
    assert isinstance(work, Path)
    held, descriptor = _take(places, run, work / LEASE_NAME)
    try:
        with held.kept() as heart:
            yield heart
    finally:
        try:
            found = lease.look(work)
            if found is not None and found[0].by_hand and _is_last(descriptor):
                held.release()
        finally:
            os.close(descriptor)


def _take(places: list[Place], run: str, path: Path) -> tuple[lease.Lease, int]:
    """The lease, and a descriptor of its file with a shared lock."""
    for _ in range(_LOOKS):
        held = lease.acquire(places, run, process_bound=False, by_hand=True)
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            with suppress(OSError):  # no locks here
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            if os.fstat(descriptor).st_nlink > 0:
                return held, descriptor
            os.close(descriptor)  # another stage was the last one, until this one came
    raise LeaseHeldError(f"the lease {path} changes hands all the time", "try again later")


def _is_last(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here
    return True
