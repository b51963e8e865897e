"""The errors that Magneton raises on purpose; each class carries its exit code.

::

    MagnetonError            70   (a bug, when raised as itself)
    +-- UsageError           64   the command line was wrong
    +-- BadDataError         65   the data can't be right; a retry won't help
    |   +-- CorruptFileError 65   a file of ours isn't what its record says
    +-- NoInputError         66   an input volume is missing or can't be read
    +-- OutputError          74   writing or reading failed: disk full, quota, I/O error
    +-- TemporaryError       75   a retry helps: a signal, a lost worker, a busy lease
    |   +-- LeaseHeldError   75   another run holds this volume
    |   +-- NotVisibleError  75   a recorded file did not show up in time
    |   +-- OutOfMemoryError 75   a block met its memory limit
    |   +-- StoppedError     75   a signal asked this process to end
    +-- ConfigError          78   the configuration is wrong or doesn't fit the volume
        +-- OtherVersionError 78  another version of Magneton planned the attempt

A message says what, where (block, file) and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

EXIT_OK = 0
EXIT_USAGE = 64
EXIT_BAD_DATA = 65
EXIT_NO_INPUT = 66
EXIT_BUG = 70
EXIT_IO = 74
EXIT_TEMPORARY = 75
EXIT_CONFIG = 78

#: Exit codes that a retry can mend.
RETRYABLE_EXITS = frozenset({EXIT_IO, EXIT_TEMPORARY})
#: Exit codes that no retry mends; all others (74, 75, signals, a lost interpreter) may be tried again.
FINAL_EXITS = frozenset({EXIT_USAGE, EXIT_BAD_DATA, EXIT_NO_INPUT, EXIT_BUG, EXIT_CONFIG})


def worst(codes: Iterable[int]) -> int:
    """The exit code of many that failed or didn't.

    If a retry mends some of them, it is theirs: what a retry can't mend fails again at once, and the
    rest gets done. A process that was killed (a negative code) counts as 75.
    """
    failed = [EXIT_TEMPORARY if code < 0 else code for code in codes if code != EXIT_OK]
    retryable = [code for code in failed if code in RETRYABLE_EXITS]
    return max(retryable or failed, default=EXIT_OK)


class MagnetonError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    what
        What is wrong and where (block, file, config key).
    hint
        What to do about it; shown on a line of its own.
    """

    exit_code = EXIT_BUG

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    @classmethod
    def ended_with(cls, code: int, what: str, hint: str | None = None) -> Self:
        """An error that something else ended with, and its exit code."""
        error = cls(what, hint)
        error.exit_code = code
        return error

    def __str__(self) -> str:
        return self.what if self.hint is None else f"{self.what}\n  what to do: {self.hint}"


class UsageError(MagnetonError):
    """The command line was wrong."""

    exit_code = EXIT_USAGE


class BadDataError(MagnetonError):
    """The data can't be right; a retry won't help."""

    exit_code = EXIT_BAD_DATA


class CorruptFileError(BadDataError):
    """A file of ours isn't what its record says; it is computed again on the rerun."""


class NoInputError(MagnetonError):
    """An input volume is missing or can't be read."""

    exit_code = EXIT_NO_INPUT


class OutputError(MagnetonError):
    """Writing or reading failed: disk full, quota, I/O error. Finished work stays."""

    exit_code = EXIT_IO


class TemporaryError(MagnetonError):
    """A retry helps."""

    exit_code = EXIT_TEMPORARY


class LeaseHeldError(TemporaryError):
    """Another run holds this volume's work directory or output."""


class NotVisibleError(TemporaryError):
    """A recorded file did not show up within ``visibility_wait``."""


class OutOfMemoryError(TemporaryError):
    """A block met its memory limit."""


class StoppedError(TemporaryError):
    """A signal asked this process to end: it does, whatever block it is at."""


class ConfigError(MagnetonError):
    """The configuration is wrong, or doesn't fit the volume."""

    exit_code = EXIT_CONFIG


class OtherVersionError(ConfigError):
    """Another version of Magneton planned the attempt; ``version`` names it."""

    def __init__(self, what: str, hint: str | None = None, version: str = "") -> None:
        super().__init__(what, hint)
        self.version = version
