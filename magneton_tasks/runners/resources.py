"""How a machine's memory and cores are shared out among workers, and what each is told of its share."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from magneton_tasks.runners import this_machine

#: Share of the memory that workers may use; the rest is for the system and its caches.
USABLE = 0.9
#: What a worker may take beside the block that it works, in bytes: the parent's own pages, and /tmp.
BESIDE_BYTES = 128 * 2**20
#: The least memory of a container or a job, in bytes: the libraries alone take 0.3 GB.
LEAST_BYTES = 512 * 2**20


def first_memory(configured: int | None, bound: int, most: int) -> int:
    """What a first try gets, in bytes: as the config says, else what plan projects for a block."""
    return configured or min(max(bound + BESIDE_BYTES, LEAST_BYTES), most)


def alone_memory(configured: int | None) -> int:
    """What a worker of this machine gets that ran out of memory and is tried again alone, in bytes."""
    return configured or int(this_machine.memory_bytes() * USABLE)


@contextmanager
def turn(say: Callable[[str], None]) -> Iterator[None]:
    """One at a time on this machine, of this user's tasks that get all memory; waits for the others.

    Tasks that started with what was projected for them may well run beside it.
    """
    path = Path(tempfile.gettempdir()) / f"magneton-memory-{os.getuid()}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:  # somebody else's, or a full disk: better two at once than none
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another task that was given all memory of this machine")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def workers(bound_bytes: int, memory_bytes: int) -> int:
    """Workers that fit: one per core, as long as each may take its bound."""
    return max(min(this_machine.cores(), int(memory_bytes * USABLE) // max(bound_bytes, 1)), 1)
