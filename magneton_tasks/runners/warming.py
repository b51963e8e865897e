"""Compiled code is there before workers start: otherwise each of them would compile it for itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from magneton_tasks.base.worker_env import DIE_WITH_PARENT, worker_environ
from magneton_tasks.errors import EXIT_OK
from magneton_tasks.kernels.compiled import archives as kernel_archives
from magneton_tasks.runners.command import PROGRAM


def ensure_warm(say: Callable[[str], object] = print) -> bool:
    """Run `magneton warm` where there is something for it to do; whether there is nothing left.

    In a process of its own, so that the caller needn't import numba. A failure is told and no more:
    workers then compile what they need themselves.
    """
    if kernel_archives.is_warm():
        return True
    say(
        f"compiling Magneton's code for this CPU, once: up to {kernel_archives.COMPILE_S} CPU seconds"
    )
    try:
        failed = _said_by([*PROGRAM, "warm"], say) != EXIT_OK
    except OSError as error:
        say(f"magneton warm can't be started: {error}")
        failed = True
    if failed:
        say("magneton warm failed: each worker compiles what it needs itself, which takes longer")
    return not failed


def _said_by(command: list[str], say: Callable[[str], object]) -> int:
    """Run a command that ends with this process; each line that it prints is said at once."""
    with subprocess.Popen(
        command,
        env={**worker_environ(), DIE_WITH_PARENT: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                say(line.rstrip())
        except BaseException:
            process.kill()
            raise
    return process.returncode
