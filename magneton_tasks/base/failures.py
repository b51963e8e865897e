"""Any exception as one of our errors, in sentences for people; what it means tells `error_meanings`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from magneton_tasks.base.error_meanings import Kind, is_memory, kind_of
from magneton_tasks.errors import (
    EXIT_BUG,
    BadDataError,
    ConfigError,
    MagnetonError,
    NoInputError,
    OutOfMemoryError,
    OutputError,
    TemporaryError,
)

#: What to do where a disk is full.
FREE_SPACE = "free space (or quota, in bytes and in files)"
_BUG_HINT = "this is a bug in Magneton: report it with the log"
#: Where the stage isn't known; else `runners.memory_advice` says more.
_MEMORY_HINT = "give it more memory, or run less at the same time"


def error_for(
    error: BaseException, what: str, *, decodes: bool = False, writes: bool = False
) -> Exception:
    """Our error for an exception that was met at ``what``; raise it ``from`` that.

    Memory that ran out stays a MemoryError with a note of the place, so that every level above,
    and not the nearest alone, can tell it from damage.

    Parameters
    ----------
    decodes
        As `kind_of`.
    writes
        What is missing, or may not be reached, is an output: an error of the configuration.
    """
    if isinstance(error, MagnetonError):
        return error
    kind = kind_of(error, decodes=decodes)
    if kind is Kind.MEMORY:
        return _memory_error(error, what)
    text = f"{what}: {_said(error)}"
    if kind is Kind.BUG:
        return bug(text)
    of, hint = _ERRORS[kind]
    if writes and kind in _OF_OUTPUTS:
        of, hint = ConfigError, _OF_OUTPUTS[kind]
    return of(text, hint)


_ERRORS: dict[Kind, tuple[type[MagnetonError], str]] = {
    Kind.DENIED: (
        NoInputError, "check the credentials, and that this user has the right to read it"
    ),
    Kind.MISSING: (NoInputError, "check the bucket and the path; complete what is missing"),
    Kind.NETWORK: (TemporaryError, "check the network, then rerun"),
    Kind.FILES: (TemporaryError, "fix the file system, then rerun"),
    Kind.FULL: (OutputError, f"{FREE_SPACE}, then rerun; finished work stays"),
    Kind.DAMAGED: (BadDataError, "write the chunks there again, or take them from a backup"),
    Kind.PACKAGE: (
        ConfigError, "install the package that it names; for those of Magneton: pip install 'magneton[compute]'; `magneton doctor` lists what is missing"
    ),
    Kind.SETTING: (ConfigError, "check the URL, the region, the encoding and the environment's variables"),
}  # fmt: skip
_OF_OUTPUTS = {
    Kind.DENIED: "check the credentials, and that this user has the right to write there",
    Kind.MISSING: "check the bucket and the path; the bucket must exist",
}


@contextmanager
def telling(what: str, *, decodes: bool = False, writes: bool = False) -> Iterator[None]:
    """Raise `error_for` whatever is raised inside.

    Raises
    ------
    MagnetonError
        By class and status code of what was raised; what isn't known is a bug (70).
    MemoryError
        Memory ran out.
    """
    try:
        yield
    except MagnetonError:
        raise
    except Exception as error:
        told = error_for(error, what, decodes=decodes, writes=writes)
        if told is error:
            raise
        raise told from error


def bug(text: str) -> MagnetonError:
    """The error for what isn't known; whoever tells it shows the traceback of its cause."""
    return MagnetonError(text, _BUG_HINT)


def ours(error: BaseException) -> MagnetonError | None:
    """Any exception as one of ours; None: a bug, of which the traceback is to be told.

    Memory that ran out anywhere below is out of memory, whatever was made of it since.
    """
    if isinstance(error, MagnetonError):
        return _unmasked(error)
    kind = kind_of(error)
    if kind is Kind.MEMORY:
        at = "; ".join([*getattr(error, "__notes__", ()), *filter(None, [str(error)])])
        return OutOfMemoryError(f"memory ran out{f': {at}' * bool(at)}", _MEMORY_HINT)
    if kind in (Kind.NETWORK, Kind.PACKAGE):
        of, hint = _ERRORS[kind]
        return of(_said(error), hint)
    if isinstance(error, OSError) and kind is not Kind.BUG:
        hint = FREE_SPACE if kind is Kind.FULL else "fix the file system"
        return OutputError(str(error), f"{hint}, then rerun; finished work stays")
    return None


def _unmasked(error: MagnetonError) -> MagnetonError:
    cause = error.__cause__
    if isinstance(error, OutOfMemoryError) or cause is None or not is_memory(cause):
        return error
    return OutOfMemoryError(f"memory ran out: {error.what}", _MEMORY_HINT)


def is_untold_bug(error: MagnetonError) -> bool:
    """Whether the log must show where an error came from."""
    return error.exit_code == EXIT_BUG and error.__cause__ is not None


def _memory_error(error: BaseException, what: str) -> MemoryError:
    if isinstance(error, MemoryError):
        error.add_note(what)
        return error
    return MemoryError(f"{what}: {_said(error)}")


def _said(error: BaseException) -> str:
    if isinstance(error, KeyError) and kind_of(error) is Kind.SETTING:
        return f"the environment variable {error.args[0]} isn't set"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
