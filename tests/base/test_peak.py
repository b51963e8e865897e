"""How much memory a process says it took."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from magneton_tasks.base.peak import own_peak_bytes

#: Of the process that starts another, and of the other, which gives it back.
PARENTS, OWN = 256 << 20, 64 << 20


def test_what_the_process_held_that_started_it_isnt_its_own() -> None:
    held = np.ones(PARENTS, np.uint8)
    code = f"bytearray({OWN}); from magneton_tasks.base.peak import own_peak_bytes as peak; print(peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert held.all() and own_peak_bytes() > PARENTS
    assert OWN < int(done.stdout) < PARENTS // 2
