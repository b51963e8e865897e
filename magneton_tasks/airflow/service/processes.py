"""All processes of one Airflow home: found by their environment, never by name.

`make up` marks what it starts with the home. Whatever these start inherits the mark: workers, tasks,
stages, in whichever session or process group, and whoever was killed above them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

#: Holds the home, in the environment of each of its processes.
MARK = "MAGNETON_SERVICES_OF"
#: How often what was begun while others were ended is looked for.
_LOOKS = 5


def mark(home: Path) -> dict[str, str]:
    """What the environment of a home's processes holds beside everything else."""
    # setproctitle, which Airflow calls, would else write its titles over /proc/PID/environ.
    return {MARK: os.path.realpath(home), "SPT_NOENV": "1"}


def of_home(home: Path) -> set[psutil.Process]:
    """The processes of a home and of its owner, with all below; without this one and those above."""
    wanted, owner = os.path.realpath(home), home.stat().st_uid
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is somebody else's
            if process.uids().real == owner and process.environ().get(MARK) == wanted:
                found.update((process, *process.children(recursive=True)))
    me = psutil.Process()
    return {p for p in found - {me, *me.parents()} if _lives(p)}


def end(home: Path, first: Collection[psutil.Process], patience_s: float) -> set[psutil.Process]:
    """End all processes of a home.

    Parameters
    ----------
    first
        Asked before the others: they may have to tidy up.
    patience_s
        How long those, and then the others, may take for it, in seconds, before they are killed.

    Returns
    -------
    Those that live on all the same: they hang in a system call.
    """
    signal_all(first, signal.SIGTERM)
    psutil.wait_procs(list(first), timeout=patience_s)
    # Tasks end by themselves on SIGTERM: a worker of ours stops after the file that it writes.
    family = of_home(home)
    signal_all(family, signal.SIGTERM)
    psutil.wait_procs(list(family), timeout=patience_s)
    for _ in range(_LOOKS):
        family = of_home(home)
        if not family:
            break
        signal_all(family, signal.SIGKILL)
        psutil.wait_procs(list(family), timeout=5)
    return family


def signal_all(processes: Collection[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to those that still live."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # psutil compares start times: no recycled id is hit
            process.send_signal(number)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
