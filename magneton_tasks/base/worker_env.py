"""The environment that work is started with: all of this process's but what belongs to Airflow.

Stages, Slurm's programs and whatever else works on volumes need proxies, credentials of buckets
(``AWS_...``, ``GOOGLE_...``) and paths of libraries. Airflow's settings, connections and variables hold
its secrets, and are no business of theirs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping

#: Tells a worker how much memory it may take, in bytes, where its runner limits that.
MEMORY_VARIABLE = "MAGNETON_MEMORY_BYTES"
#: Tells a worker to end when the process of this id does, which started it; then it tells itself, and
#: what it starts, that a runner started it.
DIE_WITH_PARENT, BY_RUNNER = "MAGNETON_DIE_WITH_PARENT", "MAGNETON_BY_RUNNER"
_PR_SET_PDEATHSIG = 1  # see prctl(2)
#: The address of Airflow's database, as `make up DB=...` was given it.
DATABASE_VARIABLE = "MAGNETON_AIRFLOW_DATABASE"

#: What `make up` is told: ``make`` hands its variables on, in these too.
_MAKE = {"DB", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}
#: Of Airflow's database: its address, and what libpq takes for the password.
_DATABASE = {DATABASE_VARIABLE, "PGPASSWORD"}


def is_airflows(name: str) -> bool:
    """Whether a variable is Airflow's own: a setting, a connection, a variable, or of its database."""
    return name.lstrip("_").startswith("AIRFLOW") or is_of_make_up(name)


def is_of_make_up(name: str) -> bool:
    """Whether a variable is of the command that starts Airflow, and of no process after it."""
    return name in _MAKE | _DATABASE


def worker_environ(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """``environ`` without what is Airflow's."""
    return {name: value for name, value in environ.items() if not is_airflows(name)}


def settle_libraries() -> None:
    """Tell libraries that are imported later what they needn't do, unless somebody has told them.

    pydantic reads the metadata of each installed package for plugins, which no model here uses. numpy
    asks Linux for pages of 2 MiB for its arrays from 4 MiB on, and each is cleared at its first use.
    Measured in a virtual machine: new arrays of 600 MB cost .6 to 1.3 CPU s with these pages, .3 to .4
    without; of a round of 64 blocks of 128^3, which takes 3.5 CPU s, .8.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")


def allowed_memory() -> int | None:
    """What the runner that started this process allows it, in bytes; None where it set no limit."""
    text = os.environ.get(MEMORY_VARIABLE, "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def die_with_parent() -> None:
    """End with the process that started this one, where that has asked for it (`DIE_WITH_PARENT`)."""
    parent = os.environ.pop(DIE_WITH_PARENT, None)
    if not parent:
        return
    os.environ[BY_RUNNER] = "1"
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it has ended before that
            os.kill(os.getpid(), signal.SIGTERM)
