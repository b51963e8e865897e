"""Checks of a machine: small functions in tables, run side by side, each until a deadline.

A check that hangs (a file system, an engine, a cluster that doesn't answer) is told as such and holds
up no other. It runs in a thread that ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from magneton_tasks.base.failures import ours
from magneton_tasks.errors import EXIT_BUG, EXIT_OK, EXIT_TEMPORARY, worst

#: ok: as it should be; odd: works, but may surprise; wrong: something will fail.
Level = Literal["ok", "odd", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; ``hint``: what to do; ``exit_code``: of what is wrong."""

    level: Level
    what: str
    hint: str | None = None
    exit_code: int = EXIT_OK


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes
    ----------
    title
        A word or two.
    look
        Yields what it finds; what it raises of ours is wrong, by its exit code.
    """

    title: str
    look: Callable[[], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and what it found."""

    title: str
    findings: tuple[Finding, ...]


def ok(what: str) -> Finding:
    """As it should be."""
    return Finding("ok", what)


def odd(what: str, hint: str) -> Finding:
    """Works, but may surprise."""
    return Finding("odd", what, hint)


def wrong(what: str, hint: str | None, exit_code: int) -> Finding:
    """Something will fail, with this exit code."""
    return Finding("wrong", what, hint, exit_code)


def run_all(checks: Sequence[Check], limit_s: float, *, in_turn: bool = False) -> list[Checked]:
    """Run checks side by side; all are back, or are told to hang, after ``limit_s``.

    ``in_turn``: one after the other, where what they import can't be imported by several threads.
    """
    found: dict[int, tuple[Finding, ...]] = {}

    def run(numbers: Sequence[int]) -> None:
        for number in numbers:
            found[number] = tuple(_looked(checks[number]))

    every = range(len(checks))
    shares: list[Sequence[int]] = [every] if in_turn else [[k] for k in every]
    threads = [threading.Thread(target=run, args=(share,), daemon=True) for share in shares]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    silent = (_silent(limit_s),)
    return [Checked(check.title, found.get(k, silent)) for k, check in enumerate(checks)]


def _looked(check: Check) -> Iterator[Finding]:
    """What a check finds, and what it raises."""
    try:
        yield from check.look()
    except Exception as error:
        told = ours(error)
        if told is None:
            what = f"{type(error).__name__}: {error}"
            yield wrong(what, "this is a bug in Magneton: report it", EXIT_BUG)
        else:
            yield wrong(told.what, told.hint, told.exit_code)


def _silent(limit_s: float) -> Finding:
    return wrong(
        f"no answer within {limit_s:.0f} s",
        "see whether its file system, engine or cluster hangs; then try again",
        EXIT_TEMPORARY,
    )


def exit_code(checked: Sequence[Checked]) -> int:
    """0 if nothing is wrong; else the code that a run would end with, see `errors.worst`."""
    return worst(f.exit_code for c in checked for f in c.findings if f.level == "wrong")
