"""The main menu, and what happens where nobody can answer."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pexpect
import pytest

from magneton_tasks import __version__
from tests.cli.menu.terminal import GO_ON, OPTION, Terminal, environment


def test_the_first_screen_says_what_this_installation_is(tmp_path: Path) -> None:
    with Terminal(tmp_path) as menu:
        shown = menu.answer(OPTION, "0")
        assert f"Magneton {__version__}, Python {platform.python_version()}" in shown
        assert f"numpy {version('numpy')}" in shown
        assert f"configs    {tmp_path}" in shown
        assert "local: " in shown and " cores, " in shown
        assert "Slurm: sbatch is " in shown
        assert "Docker: docker is " in shown
        assert menu.ends() == 0


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("1", "The processing toolkit is not part of this tool"),
        ("2", "Affinity inference is not part of this tool"),
    ],
)
def test_what_is_not_part_of_this_tool_says_so(option: str, says: str, tmp_path: Path) -> None:
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, option)
        assert says in menu.answer(GO_ON, "")
        menu.answer(OPTION, "q")
        assert menu.ends() == 0


def test_a_wrong_number_is_told_what_is_valid_and_asked_again(tmp_path: Path) -> None:
    with Terminal(tmp_path) as menu:
        menu.answer(OPTION, "7")
        shown = menu.answer(OPTION, "three")
        assert "'7' is no option; choose 1, 2, 3, or 0 to leave" in shown
        assert "'three' is no option" in menu.answer(OPTION, "0")
        assert menu.ends() == 0


@pytest.mark.parametrize("key", ["q", "ctrl-c", "ctrl-d"])
def test_the_menu_is_left_by_each_key(key: str, tmp_path: Path) -> None:
    with Terminal(tmp_path) as menu:
        menu.until(OPTION)
        if key == "q":
            menu.process.sendline("q")
        elif key == "ctrl-c":
            menu.interrupt()
        else:
            menu.process.sendeof()
        assert menu.ends() == 0
        assert "Traceback" not in menu.shown


# ------------------------------------------------------------------ no terminal
@pytest.mark.parametrize("module", ["magneton", "magneton_tasks"])
def test_without_a_terminal_there_is_the_usage_and_64(module: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(tmp_path),
    )
    assert done.returncode == 64
    assert done.stdout.startswith("Usage: ")
    assert "Example:  magneton sample demo" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("redirect", ["< /dev/null", "> /dev/null", "| cat"])
def test_half_a_terminal_is_none(redirect: str, tmp_path: Path) -> None:
    """stdin or stdout is a terminal, the other isn't: nobody is asked, nothing hangs."""
    shell = pexpect.spawn(
        "/bin/bash",
        ["-o", "pipefail", "-c", f"{sys.executable} -m magneton {redirect}"],
        encoding="utf-8",
        timeout=300,
        env=environment(tmp_path),
        cwd=str(tmp_path),
    )
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 64
    assert OPTION not in (shell.before or "")
