"""Memory, cores, limits and the umask of this process."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator

from magneton_tasks.base.checkup import Check, Finding, odd, ok, wrong
from magneton_tasks.base.units import human_bytes
from magneton_tasks.errors import EXIT_CONFIG
from magneton_tasks.runners import this_machine

#: Below this plan refuses most blocks.
LEAST_BYTES = 2 * 2**30
#: Open files: a worker that writes a cell, or the viewer, has some hundred.
LEAST_FILES = 512
#: Processes and threads of this user: libraries start one per core in each worker.
LEAST_PROCESSES = 512


def checks() -> list[Check]:
    """The table."""
    return [Check("memory", memory), Check("limits", limits), Check("umask", umask)]


def memory() -> Iterator[Finding]:
    """What workers have, and what sets it."""
    found = this_machine.memory()
    told = f"{found.given_by} {human_bytes(found.bytes)}, {this_machine.cores()} cores"
    if found.bytes < LEAST_BYTES:
        yield odd(told, "take smaller blocks (block.size), or a machine with more memory")
    else:
        yield ok(told)


def limits() -> Iterator[Finding]:
    """Ulimit."""
    kinds = ((resource.RLIMIT_NOFILE, "n", LEAST_FILES, "open files"),
             (resource.RLIMIT_NPROC, "u", LEAST_PROCESSES, "processes"))  # fmt: skip
    told = []
    for kind, letter, least, what in kinds:
        soft, _ = resource.getrlimit(kind)
        number = "any number of" if soft == resource.RLIM_INFINITY else f"{soft:,}"
        told.append(f"{number} {what}")
        if soft != resource.RLIM_INFINITY and soft < least:
            yield odd(f"ulimit -{letter} allows {number} {what}", f"ulimit -{letter} {least}")
    yield ok(", ".join(told))


def umask() -> Iterator[Finding]:
    """What is taken from new files."""
    mask = current_umask()
    if mask & 0o700:
        yield wrong(
            f"{mask:04o} keeps you from your own new files",
            "umask 022, or 002 in a group",
            EXIT_CONFIG,
        )
    elif mask & 0o020:
        yield ok(
            f"{mask:04o}: others of your group can't go on with your runs (umask 002 lets them)"
        )
    else:
        yield ok(f"{mask:04o}: your group can go on with your runs")


def current_umask() -> int:
    """Without setting it, which other threads would see."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))
    except (OSError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask
