"""A link opens in a person's browser, and nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magneton_tasks.base import browser

LINK = "http://127.0.0.1:8080/plugin/magneton-volumes"
_CODE = f"""
import os, sys
from magneton_tasks.base.browser import open_apart
sys.stdout.isatty = lambda: True
os.write(1, str(open_apart({LINK!r}, os.environ)).encode())
"""


def _tried(display: str, command: str) -> str:
    environ = {**os.environ, "DISPLAY": display, "BROWSER": command}
    environ.pop("WAYLAND_DISPLAY", None)
    done = subprocess.run(
        [sys.executable, "-c", _CODE], env=environ, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def test_nobody_waits_for_the_browser(tmp_path: Path) -> None:
    """It is told the link only after the process that opened it has ended: each waits for the other."""
    opened, told = tmp_path / "browser", tmp_path / "told"
    os.mkfifo(told)
    opened.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    opened.chmod(0o755)
    assert _tried(":9", f"{opened} %s") == "True"
    assert told.read_text() == f"{LINK}\n"


def test_without_a_display_or_a_terminal_nothing_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _tried("", f"{tmp_path}/browser %s") == "False"
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    assert not browser.open_apart(LINK, {"DISPLAY": ":9"}), "no terminal: a cron job, a pipe"
