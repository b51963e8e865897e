"""A person's browser: whether there is one here, and a link that opens in it."""

from __future__ import annotations

import subprocess
import sys
import webbrowser
from collections.abc import Mapping

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_display(environment: Mapping[str, str]) -> bool:
    """Whether a browser could be seen, or the person has named what to open links with."""
    return any(environment.get(name) for name in (*_DISPLAYS, "BROWSER"))


def open_apart(link: str, environment: Mapping[str, str]) -> bool:
    """Open a link in a process of its own, which nobody waits for; returns whether it was tried.

    That is only where a person looks on: at a terminal, with a display, and a browser on it.
    """
    if not (sys.stdout.isatty() and any(environment.get(name) for name in _DISPLAYS)):
        return False
    try:
        webbrowser.get()
        subprocess.Popen(
            [sys.executable, "-m", "webbrowser", link],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (webbrowser.Error, OSError):
        return False
    return True
