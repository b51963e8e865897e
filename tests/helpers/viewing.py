"""Viewers that run in a process of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: the process, and the lines that it printed
Viewing = tuple[subprocess.Popen[str], list[str]]


@contextmanager
def view(config: Path, *arguments: str, **environment: str) -> Iterator[Viewing]:
    """``magneton view`` in a process of its own, and what it printed before it began to serve."""
    command = (sys.executable, "-m", "magneton_tasks", "view", str(config), *arguments)
    with started(command, **environment) as found:
        yield found


@contextmanager
def started(command: Sequence[str], **environment: str) -> Iterator[Viewing]:
    """A command that serves a viewer, as `view`."""
    without = ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    kept = {name: value for name, value in os.environ.items() if name not in without}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=kept | {"PYTHONUNBUFFERED": "1"} | environment,
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            line = process.stdout.readline()
            assert line, (lines, process.wait())
            lines.append(line.rstrip())
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def link_of(lines: list[str]) -> tuple[int, str]:
    """Port and path of the link."""
    (match,) = [
        m for m in (re.fullmatch(r"\s*http://127\.0\.0\.1:(\d+)(/\S+)", x) for x in lines) if m
    ]
    return int(match[1]), match[2]
