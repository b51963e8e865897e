"""When memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: of malloc.h
_M_MMAP_THRESHOLD = -3
#: Each such array is a mapping of its own, of which Linux allows a process 65,530.
_LEAST_GIVEN_BACK_BYTES = 1 << 16


def give_back_early() -> None:
    """Let arrays go back to the system as soon as they are freed, for the rest of this process.

    glibc else keeps those of up to 32 MiB for later. Columns of small blocks are smaller than a MiB:
    64 blocks of 128^3 peaked at 1152 MiB where arrays of a MiB went back, and at 809 MiB with these.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LEAST_GIVEN_BACK_BYTES)
