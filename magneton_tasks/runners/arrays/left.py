"""Job arrays of a work directory that are in the queue, and that nobody follows any more."""

from __future__ import annotations

from collections.abc import Sequence

from magneton_tasks.errors import TemporaryError
from magneton_tasks.runners.arrays.scheduler import LeftJob, Scheduler


def cancel(scheduler: Scheduler, jobs: Sequence[LeftJob]) -> list[str]:
    """Cancel arrays; their ids.

    Raises
    ------
    TemporaryError
        The scheduler doesn't answer, or they are another user's.
    """
    ids = [j.job for j in jobs]
    if ids and (complaint := scheduler.cancel(ids)):
        raise TemporaryError(
            f"{', '.join(map(str, jobs))} can't be cancelled: {complaint}",
            f"try again once {scheduler.cluster.title} answers; another user's jobs only that user can cancel",
        )
    return ids
