"""Runs a command and shows signs of life while it is silent: ``python -m scripts.watched WHAT COMMAND...``.

WHAT says what it does. For what takes long before it can say anything itself, such as imports of a fresh
installation. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from magneton_tasks.base.signs import Signs

#: Seconds of silence; longer than those of commands that tell of themselves.
EVERY_S = 3.5


def run(
    command: Sequence[str],
    doing: Callable[[float], str],
    environ: Mapping[str, str] | None = None,
    every_s: float = EVERY_S,
) -> int:
    """Run a command; what it prints is passed on as it comes. Returns its exit code.

    On a terminal it gets one, too, so that it draws its own progress.
    """
    sys.stdout.flush()
    ours, theirs = pty.openpty() if sys.stdout.isatty() else os.pipe()
    if sys.stdout.isatty():
        _as_ours(theirs)
    try:
        with Signs(doing, every_s=every_s) as signs:
            process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ)
            os.close(theirs)
            with process, suppress(OSError):  # a terminal whose other side is closed ends so
                while data := os.read(ours, 1 << 16):
                    signs.pass_on(data)
    finally:
        os.close(ours)
    return process.returncode


def _as_ours(terminal: int) -> None:
    """As wide as this process's terminal, and what is written to it stays as it is."""
    size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
    mode = termios.tcgetattr(terminal)
    mode[1] &= ~termios.OPOST
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def main(what: str, *command: str) -> int:
    """Run it; 130 after Ctrl-C, which it got as well."""
    try:
        return run(command, lambda seconds: f"    {what}, {seconds:.0f} s")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
