"""`magneton` in a real pseudo-terminal, and a person who types."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect

ROOT = Path(__file__).resolve().parents[3]
#: Seconds; nothing takes that long unless it hangs.
TIMEOUT_S = 300
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of this process, but configs and state are those of ``folder``."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "EDITOR", "VISUAL")
    }
    own = {
        "TERM": "xterm",
        "MAGNETON_CONFIGS": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PYTHONPATH": str(ROOT),
    }
    return {**kept, **own, **(more or {})}


class Terminal:
    """A program on a terminal of 220 characters and so many ``lines`` that tables don't stop; a context manager."""

    def __init__(
        self, folder: Path, *args: str, env: Mapping[str, str] | None = None, lines: int = 200
    ) -> None:
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "magneton", *args],
            cwd=str(folder),
            dimensions=(lines, 220),
            encoding="utf-8",
            codec_errors="replace",  # the echo of Ctrl-C may come in the middle of a character
            timeout=TIMEOUT_S,
            env=environment(folder, env),
        )
        #: what was shown before the last prompt, without control sequences
        self.shown = ""
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.close(force=True)

    def until(self, text: str) -> str:
        """Wait for a text (no pattern); what was shown before it."""
        self.process.expect_exact(text)
        return self._took()

    def until_match(self, pattern: str) -> str:
        self.process.expect(pattern)
        return self._took()

    def _took(self) -> str:
        self.raw += self.process.before or ""
        self.shown = _CONTROL.sub("", self.process.before or "")
        return self.shown

    def answer(self, prompt: str, text: str) -> str:
        """Wait for a prompt and type an answer; what was shown before the prompt."""
        shown = self.until(prompt)
        self.process.sendline(text)
        return shown

    def answers(self, *pairs: tuple[str, str]) -> None:
        for prompt, text in pairs:
            self.answer(prompt, text)

    def read_on(self, seconds: float) -> None:
        """Wait, and take what comes, as a terminal does: one that is full holds its program up."""
        self.process.expect(pexpect.TIMEOUT, timeout=seconds)

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal makes it."""
        self.process.sendintr()

    def ends(self) -> int:
        """Wait for the end; the exit code."""
        self.process.expect(pexpect.EOF)
        self._took()
        self.process.close()
        assert self.process.exitstatus is not None, f"ended by signal {self.process.signalstatus}"
        return int(self.process.exitstatus)


#: Prompts of the menu.
OPTION = "option: "
GO_ON = "Enter to continue"
START = "change parameters first (p)? [s]: "
PARAMETER = "q: leave [done]: "


def listing(folder: Path) -> dict[str, tuple[int, float]]:
    """Every file of a folder with its size and time; the menu's own state left out."""
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime)
        for p in sorted(folder.rglob("*"))
        if "state" not in p.relative_to(folder).parts and not p.is_dir()
    }
