"""Long tables on a terminal: a screen at a time."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase
from typing import TextIO

from magneton_tasks.cli.console import QUIT_WORDS, is_interactive

MORE = "-- Enter: more, q: enough --"
#: What moves no cursor: colours, and their like.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Where a terminal doesn't tell its size.
_SIZE = (80, 24)


@contextmanager
def paged() -> Iterator[None]:
    """What is printed inside stops at the terminal's height, until Enter; after q the rest isn't shown.

    Without a terminal it is printed as ever.
    """
    if not is_interactive():
        yield
        return
    pager = _Pager(sys.stdout)
    with redirect_stdout(pager):
        yield


class _Pager(TextIOBase):
    """A terminal that counts its rows."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._size = shutil.get_terminal_size(_SIZE)
        self._rows, self._line, self._is_enough = 0, "", False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._terminal.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._terminal.errors

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self._terminal.flush()

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):  # click tries whether this is a stream of bytes
            raise TypeError(f"a text is needed, not {type(text).__name__}")
        for piece in text.splitlines(keepends=True):
            self._write(piece)
        return len(text)

    def _write(self, piece: str) -> None:
        """A line, or a part of one."""
        if self._is_enough:
            return
        if not self._line and self._rows >= self._size.lines - 1 and not self._goes_on():
            return
        self._terminal.write(piece)
        self._line += piece
        if self._line.endswith("\n"):
            shown = len(_CONTROL.sub("", self._line.rstrip("\n")))
            self._rows += max(-(-shown // self._size.columns), 1)
            self._line = ""

    def _goes_on(self) -> bool:
        """Whether a person wants more, whose Enter begins a new screen."""
        self._terminal.write(MORE)
        self._terminal.flush()
        answer = sys.stdin.readline()
        self._is_enough = not answer or answer.strip().lower() in QUIT_WORDS
        self._rows = 0
        return not self._is_enough
