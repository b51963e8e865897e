"""Compiled code before the first array: made once where there is none, and told."""

from __future__ import annotations

import sys
import threading

from magneton_tasks.runners.warming import ensure_warm

_lock = threading.Lock()
_is_ready = False


def compiled() -> None:
    """Compile the kernels where nobody has for this CPU, and say so; the first call of a process looks."""
    global _is_ready
    with _lock:  # two threads don't compile twice
        if not _is_ready:
            ensure_warm(lambda line: print(f"magneton: {line}", file=sys.stderr, flush=True))
            _is_ready = True
