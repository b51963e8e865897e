"""Signs of life: a line now and then while something takes long and says nothing itself.

On a terminal the line is written again in its place, elsewhere there is one after the other. Standard
library only, because the installation uses it before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self

#: Seconds of silence after which there is a sign; people begin to doubt after about five, and on a busy
#: machine a sign comes late.
EVERY_S = 2.5
_CLEAR = b"\r\x1b[K"


class Signs:
    """A context manager, in which what is said goes through `say` or `pass_on`.

    Parameters
    ----------
    doing
        What to say, asked at each sign; it gets the seconds since the last `say`. Can be changed. What
        it raises as OSError is a sign without words.
    out
        Where to; None: standard output.
    every_s
        Seconds of silence before a sign.
    """

    def __init__(
        self,
        doing: Callable[[float], str],
        out: BinaryIO | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.doing, self._every_s = doing, every_s
        self._out = sys.stdout.buffer if out is None else out
        self._in_place = self._out.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._said = self._wrote = time.monotonic()
        self._is_sign = False  # the line at the cursor is a sign
        self._is_begun = False  # it is one of somebody else's, without an end
        self._thread = threading.Thread(target=self._watch, name="signs", daemon=True)

    def __enter__(self) -> Self:
        sys.stdout.flush()  # what stands in a buffer above `out` comes first
        self._said = self._wrote = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._write(b"")

    def say(self, line: str) -> None:
        """A line of one's own; what is done from now on is counted from here."""
        with self._lock:
            self._said = time.monotonic()
            self._write(line.encode(errors="replace") + b"\n")

    def pass_on(self, data: bytes) -> None:
        """What another program has printed, as it is."""
        with self._lock:
            self._write(data)
            self._is_begun = not data.endswith(b"\n")

    def _write(self, data: bytes) -> None:
        if self._is_sign and self._in_place:
            data = _CLEAR + data
        self._is_sign = False
        if data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()
        self._wrote = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(min(self._every_s / 4, 0.5)):
            with self._lock:
                now = time.monotonic()
                # In its place, a line is soon an old one.
                if now - self._wrote >= (
                    1.0 if self._is_sign and self._in_place else self._every_s
                ):
                    self._sign(now - self._said)

    def _sign(self, seconds: float) -> None:
        try:
            told = self.doing(seconds)
        except OSError:
            told = f"    {seconds:.0f} s"
        begun = b"\n" if self._is_begun else b""
        self._is_begun = False
        if self._in_place:
            columns = shutil.get_terminal_size().columns  # a longer line couldn't be cleared
            self._put(begun + _CLEAR + told[: columns - 1].encode(errors="replace"))
        else:
            self._put(begun + told.encode(errors="replace") + b"\n")
        self._is_sign = True
