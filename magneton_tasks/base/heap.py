"""When memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: of malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Each such array is a mapping of its own, of which Linux allows a process 65,530, and whose pages
#: cost CPU time each time they are new. What is freed of smaller ones is kept up to so many bytes.
_LEAST_GIVEN_BACK_BYTES = 4 << 20
_KEPT_BYTES = 64 << 20


def give_back_early() -> None:
    """Let large arrays go back to the system as soon as they are freed, for the rest of this process.

    glibc else keeps those of up to 32 MiB for later. A round of 64 blocks of 128^3 peaked at 1,028 MiB
    so, with arrays from 256 KiB on at 1,027 MiB, and where nothing went back at 1,092 MiB; of its cut,
    which took 1.0 CPU s so, 1.3 to 1.9 where arrays from 256 KiB on went back, and .7 to 1.0 where
    nothing did.
    """
    with suppress(AttributeError, OSError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LEAST_GIVEN_BACK_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
