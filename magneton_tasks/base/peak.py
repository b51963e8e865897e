"""The most memory that this process took."""

from __future__ import annotations

import re
import resource
from pathlib import Path

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def own_peak_bytes() -> int:
    """Peak resident memory of this process, in bytes, since its program began.

    ``ru_maxrss`` would be at least that of the process that started it: until exec, both have the
    same memory. It serves where the kernel (gVisor's) doesn't tell the program's own.
    """
    found = _PEAK.search(Path("/proc/self/status").read_text())
    kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1024
