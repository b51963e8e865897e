"""What the command line costs before it does anything: ``--help``, and the menu's first screen.

The menu is started in a real pseudo-terminal, with a finished volume in its directory of configs;
counted is the CPU time of its process until it waits for the first answer. The least of five runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pexpect
import psutil

from benchmarks.measure import MAGNETON, Row, magneton, row
from benchmarks.volumes import write_config, zarr_info

RUNS = 5


def run(*, full: bool = False) -> list[Row]:
    """Measure."""
    magneton("--help")  # compiles the modules
    helped = min(magneton("--help").cpu_s for _ in range(RUNS))
    with TemporaryDirectory() as directory:
        zarr_info(Path(directory) / "affinity", (64, 64, 64))
        write_config(Path(directory), {})
        menu = min(_first_screen(Path(directory)) for _ in range(RUNS))
    return [
        row("magneton --help", helped, "CPU s", most=0.3),
        row("the menu's first screen", menu, "CPU s", most=0.5),
    ]


def _first_screen(configs: Path) -> float:
    """CPU seconds until the menu asks for a number."""
    environment = os.environ | {
        "MAGNETON_CONFIGS": str(configs),
        "XDG_STATE_HOME": str(configs / "state"),
        "TERM": "xterm",
        "COLUMNS": "120",
        "LINES": "50",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    child = pexpect.spawn(MAGNETON[0], list(MAGNETON[1:]), env=environment, timeout=60)
    child.expect(r": $")
    times = psutil.Process(child.pid).cpu_times()
    child.sendline("q")
    child.expect(pexpect.EOF)
    child.close()
    return float(times.user + times.system + times.children_user + times.children_system)
