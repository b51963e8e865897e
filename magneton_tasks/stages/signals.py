"""A stage that is asked to end, ends cleanly."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from magneton_tasks.errors import StoppedError


def raise_on_signals() -> None:
    """Let SIGTERM end the work cleanly, as a temporary failure: finished blocks stay."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise StoppedError(
            f"stopped by {signal.Signals(number).name}", "rerun: finished blocks stay"
        )

    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, stop)
