"""Memory in huge pages: what forks of a large process cost, of which the tests make thousands.

A fork copies an entry for each page that the process holds; half of what a fork of pytest cost went
into that. In huge pages, what has been imported and collected is a few hundred entries, not 70,000.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

_SIZE = 2 << 20
_COLLAPSE = 25  # MADV_COLLAPSE, see madvise(2); Linux 6.1


def use_huge_pages() -> None:
    """Let what this process holds lie in huge pages, as far as the system can."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, end in list(_own_memory()):
        for page in range(-(-begin // _SIZE) * _SIZE, end - _SIZE + 1, _SIZE):
            madvise(page, _SIZE, _COLLAPSE)  # where it can't be, the pages stay as they are


def _own_memory() -> Iterator[tuple[int, int]]:
    """Begin and end of each region that is no file's, and full; stacks of threads aren't."""
    if not os.path.exists("/proc/self/smaps"):
        return
    begin = end = 0
    with open("/proc/self/smaps") as regions:
        for line in regions:
            first, *rest = line.split()
            if not first.endswith(":"):
                begin, end = (int(side, 16) for side in first.split("-"))
                is_own = rest[0] == "rw-p" and rest[4:] in ([], ["[heap]"])
            elif first == "Anonymous:" and is_own and 2 * int(rest[0]) << 10 > end - begin:
                yield begin, end
