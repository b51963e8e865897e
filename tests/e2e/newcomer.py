"""Somebody who has just cloned the project: a fresh clone, a clean environment, a terminal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pexpect

from tests.e2e.rest import fetched
from tests.helpers.clones import clone
from tests.helpers.shell_blocks import Typed

Watch = TypeVar("Watch")
#: What a login on Debian has; last, the Python that this test's environment was made with.
PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{sys.base_prefix}/bin"
#: Seconds that a command may take on a busy machine; an installation takes most.
PATIENCE_S = 1200
#: How this machine reaches a package index: whoever has a machine has set that up.
_NETWORK = re.compile(
    r"pip_\w+|\w+_proxy|ssl_cert_(file|dir)|(requests|curl)_ca_bundle", re.IGNORECASE
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")
#: The shell's prompt holds the exit code of what was typed before.
_PROMPT = re.compile(r"newcomer (\d+)> ")
_SERVES = re.compile(r"(http://127\.0\.0\.1:\d+/v/\S+/).*Ctrl-C ends it", re.DOTALL)
_QUESTION = re.compile(r"\[[^\r\n]*\]: $")
#: Only these may ask; what else waits for an answer hangs, as it would for the reader.
_ASKS = ("magneton config new ", ".venv/bin/magneton config new ")


def environment(home: Path) -> dict[str, str]:
    """All that is set: nothing of this process's own but the way to a package index.

    The caches of pip and uv are those of this machine's user: they hold downloads, nothing installed,
    and whoever installs a second time has them as well.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    index = Path.home() / ".config" / "pip" / "pip.conf"
    return {
        "PIP_CACHE_DIR": str(cache / "pip"),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(cache / "uv"),
        **({"PIP_CONFIG_FILE": str(index)} if index.is_file() else {}),
        **{k: v for k, v in os.environ.items() if _NETWORK.fullmatch(k)},
        "HOME": str(home),
        "PATH": PATH,
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "PS1": "newcomer $?> ",
    }


class Newcomer:
    """Types into an interactive shell in a clone; a context manager.

    Parameters
    ----------
    folder
        Empty; gets the clone, the home, and ``terminal.txt``: all that the terminal showed.
    """

    def __init__(self, folder: Path) -> None:
        self.project, home = clone(folder), folder / "home"
        home.mkdir()
        self._environ = environment(home)
        self.typed: list[Typed] = []
        self._shown: Any = (folder / "terminal.txt").open("w")

    def watch(self, watch: Callable[[Any], Watch]) -> Watch:
        """Let something look at what the terminal shows: it gets a file, and takes its place."""
        self._shown = watched = watch(self._shown)
        return watched

    def __enter__(self) -> Self:
        self._shell = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "-i"],
            cwd=str(self.project),
            env=self._environ,
            dimensions=(60, 250),
            encoding="utf-8",
            timeout=PATIENCE_S,
        )
        self._shell.logfile_read = self._shown
        self._shell.expect(_PROMPT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shell.close(force=True)
        self._shown.close()
        # Harmless where nothing runs; where the test failed, Airflow may.
        subprocess.run(["make", "down"], cwd=self.project, env=self._environ, check=False)
        shutil.rmtree(self.project / ".venv", ignore_errors=True)  # 1.6 GB, which pytest would keep

    def types(self, command: Typed) -> str:
        """Type it and wait for the prompt; what was shown meanwhile.

        Questions are answered by Enter; what serves until Ctrl-C is looked at, and gets it.

        Raises
        ------
        AssertionError
            It didn't end with exit code 0.
        """
        began = time.monotonic()
        self._shell.sendline(command.text)
        said = ""
        waited_for: list[re.Pattern[str]] = [_PROMPT, _SERVES]
        if command.text.startswith(_ASKS):
            waited_for.append(_QUESTION)
        while (seen := self._expect(command, waited_for)) is not _PROMPT:
            said += self._before_and_after()
            if seen is _SERVES:
                assert "neuroglancer" in fetched(self._match()[1]).lower()
                self._shell.sendintr()
            else:
                self._shell.sendline("")
        said += _CONTROL.sub("", self._shell.before or "")
        assert self._match()[1] == "0", f"{command}\nended with {self._match()[1]}:\n{said}"
        self.typed.append(command)
        print(f"{time.monotonic() - began:6.1f} s  {command}")  # with `pytest -s` or where it fails
        return said.partition("\n")[2]  # without the echo of what was typed

    def _expect(self, command: Typed, waited_for: list[re.Pattern[str]]) -> re.Pattern[str]:
        try:
            return waited_for[self._shell.expect([*waited_for])]
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise AssertionError(f"{command}\nhangs:\n{self._shell.before}") from error

    def _match(self) -> re.Match[str]:
        match = self._shell.match
        assert isinstance(match, re.Match)
        return match

    def _before_and_after(self) -> str:
        return _CONTROL.sub("", f"{self._shell.before}{self._shell.after}")
