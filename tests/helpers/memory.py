"""How much memory work takes: in a child of a process that has done nothing else.

A process that has run tests holds memory which they have freed. Its children take from that first, and
so seem to need less.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path


def fresh_process() -> ProcessPoolExecutor:
    """A process that has only imported what its first call needs; `grown_by` belongs into it."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def grown_by(work: Callable[[], object], before: Callable[[], object]) -> int:
    """Bytes by which a forked child's resident memory grows at most while it works.

    ``before`` is done first in the child: a little of the same work, so that the pages of libraries
    are there.
    """
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            before()
            begin = _resident("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
            work()
            os.write(tell, str(_resident("VmHWM") - begin).encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as grown:
        text = grown.read()
    os.waitpid(pid, 0)
    return int(text)


def _resident(kind: str) -> int:
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith(kind))) * 1024
