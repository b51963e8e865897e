"""Ctrl-C while workers run: it is held back until they have ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Counts how often Ctrl-C was pressed, and hands each on.

    Parameters
    ----------
    on_interrupt
        Gets the count; called by the signal handler.
    """

    def __init__(self, on_interrupt: Callable[[int], None]) -> None:
        self.count = 0
        self._on_interrupt = on_interrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold Ctrl-C back: cut short, a loop would leave a worker behind.

        Raises
        ------
        KeyboardInterrupt
            At the end, where it was pressed.
        """
        before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread() and callable(before)
        if is_main:
            signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            if is_main:
                signal.signal(signal.SIGINT, before)
        if self.count:
            raise KeyboardInterrupt

    def _handle(self, _: int, __: FrameType | None) -> None:
        self.count += 1
        self._on_interrupt(self.count)
