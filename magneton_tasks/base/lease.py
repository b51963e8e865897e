"""The lease: one run at a time on a work directory and its output.

A lease lies beside what it guards, a file (`lease_files`) or an object of a bucket
(`lease_buckets`)::

    {"run": ..., "host": ..., "pid": ..., "boot_id": ..., "created": ..., "heartbeat": ...}

It belongs to a *run*: every process of the run may take it over and beat. Standard library only,
but for buckets.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from magneton_tasks.base.lease_buckets import BucketLease
from magneton_tasks.base.lease_files import FileLease
from magneton_tasks.base.lease_holder import LEASE_NAME, Holder
from magneton_tasks.errors import LeaseHeldError, MagnetonError

__all__ = ["LEASE_NAME", "Heart", "Holder", "Lease", "Place", "acquire", "give_back", "look"]

HEARTBEAT_S = 30.0
STALE_S = 600.0

#: What a lease guards: a directory, or the URL of a bucket (and a path in it).
Place = Path | str


class Guard(Protocol):
    """The lease of one place."""

    @property
    def name(self) -> str:
        """How a message calls the lease."""

    def take(self, holder: Holder, stale_s: float) -> bool:
        """Whether the lease was taken anew; False where it was this run's already."""

    def beat(self, holder: Holder) -> bool:
        """Renew the lease if it is this run's; False where it's gone or another's."""

    def look(self) -> tuple[Holder, float] | None:
        """Who holds it, and how long ago it last beat, in seconds; None where it's free."""

    def give_back(self, holder: Holder) -> None:
        """Remove the lease if it is this run's."""


class Lease:
    """A lease that was acquired; see `acquire`."""

    def __init__(self, guards: list[Guard], holder: Holder) -> None:
        self._guards = guards
        self._holder = holder
        self.run = holder.run

    def heartbeat(self) -> None:
        """Say that this run is alive.

        Raises
        ------
        LeaseHeldError
            Another run has broken the lease (or it was removed): stop.
        OutputError, TemporaryError, NoInputError
            The file system, or the connection to a bucket, failed; the lease may still be ours.
        """
        for guard in self._guards:
            if not guard.beat(self._holder):
                now = guard.look()
                raise LeaseHeldError(
                    f"the lease {guard.name} of run {self.run!r} was lost"
                    + (f": {now[0]} has it" if now else ": it is gone"),
                    "rerun once nothing else works on this volume; finished work stays",
                )

    def release(self) -> None:
        """Give the lease back; one that another run holds by now stays."""
        failed: list[BaseException] = []
        for guard in self._guards:
            try:
                guard.give_back(self._holder)
            except Exception as error:  # the others are given back all the same
                failed.append(error)
        if failed:
            raise failed[0]

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
            except MagnetonError:
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
    places: Iterable[Place],
    run: str,
    *,
    process_bound: bool,
    by_hand: bool = False,
    stale_s: float = STALE_S,
) -> Lease:
    """Take the lease of each place, or none.

    Parameters
    ----------
    places
        What is guarded: the work directory and the output.
    run
        A free lease is taken, one of this run is taken over, one of another run is broken if it
        is stale, or bound to a process of this machine that is dead.
    process_bound
        Whether the run lives in this very process (``magneton run``), not in a DAG's many.
    by_hand
        Whether a person started the stage that calls; see `lease_by_hand`.
    stale_s
        Seconds without a heartbeat after which a lease of another run counts as left behind.

    Raises
    ------
    LeaseHeldError
        Another run holds one of them; names it.
    OutputError, TemporaryError, NoInputError
        A lease can't be written.
    """
    holder, guards = Holder.this_process(run, process_bound, by_hand), _guards(places)
    taken: list[Guard] = []
    try:
        for guard in guards:
            if guard.take(holder, stale_s):
                taken.append(guard)  # noqa: PERF401 (a failure gives back what was taken so far)
    except BaseException:
        Lease(taken, holder).release()
        raise
    return Lease(guards, holder)


def share(place: Place, others: Iterable[Place], run: str) -> None:
    """Take the leases of further places for whoever holds that of one, so that all end together.

    Raises
    ------
    LeaseHeldError, OutputError, TemporaryError, NoInputError
        As `acquire`.
    """
    found = look(place)
    is_ours = found is not None and found[0].run == run
    holder = found[0] if found and is_ours else Holder.this_process(run, process_bound=False)
    taken: list[Guard] = []
    try:
        for guard in _guards(others):
            if guard.take(holder, STALE_S):
                taken.append(guard)  # noqa: PERF401 (a failure gives back what was taken so far)
    except BaseException:
        Lease(taken, holder).release()
        raise


def give_back(places: Iterable[Place], run: str) -> None:
    """Remove a run's lease of each place, by whichever process it was taken; writes nothing.

    Raises
    ------
    OutputError, TemporaryError, NoInputError
        The file system, or the connection to a bucket, failed.
    """
    Lease(_guards(places), Holder.this_process(run, process_bound=False)).release()


def look(place: Place) -> tuple[Holder, float] | None:
    """Who holds the lease of a place, and how long ago it last beat, in seconds; None if free."""
    return _guard(place).look()


def _guards(places: Iterable[Place]) -> list[Guard]:
    """In one order, whoever asks: two that take the same places never hold one each."""
    by_name = {guard.name: guard for guard in map(_guard, places)}
    return [by_name[name] for name in sorted(by_name)]


def _guard(place: Place) -> Guard:
    return FileLease(place) if isinstance(place, Path) else BucketLease(place)


def holder_of(work: Path) -> tuple[Holder, float] | None:
    """Who works here, and how long ago it last beat (seconds); None where nobody does any more."""
    held = look(work)
    if held is None or held[0].is_dead or held[1] >= STALE_S:
        return None
    return held
