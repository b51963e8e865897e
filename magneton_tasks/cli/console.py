"""Talking with a person at a terminal: output without surprises, questions that can be left.

Colours appear on a terminal only, and not with ``NO_COLOR`` (rich sees to both).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from magneton_tasks.errors import MagnetonError, UsageError

if TYPE_CHECKING:  # half of the time that --help takes
    from rich.console import Console

T = TypeVar("T")

#: What leaves any question without harm.
QUIT_WORDS = ("q", "quit")


class Quit(Exception):  # noqa: N818 (no error)
    """The person answered q, or closed the input: leave, change nothing."""


def is_interactive() -> bool:
    """Whether a person can be asked: both ends are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def require_terminal(instead: str) -> None:
    """Refuse to ask where nobody can answer: a pipe, a cron job.

    Raises
    ------
    UsageError
        ``instead`` says how to do the same without questions.
    """
    if not is_interactive():
        raise UsageError("this asks questions, and there is no terminal to answer them", instead)


def say(console: Console, text: str, style: str | None = None) -> None:
    """A line as it is: no markup, and no path is cut in two where the terminal ends."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def echo(text: str, style: str | None = None) -> None:
    """A line as it is; in colour on a terminal, and elsewhere without the library for that."""
    if not sys.stdout.isatty():
        print(text, flush=True)
        return
    from rich.console import Console  # an eighth of a second

    say(Console(), text, style)


def ask(question: str, check: Callable[[str], T], default: str | None = None) -> T:
    """Ask until ``check`` takes the answer.

    Parameters
    ----------
    question
        Without a colon; the default is shown behind it.
    check
        Makes a value of the answer; a `MagnetonError` or ``ValueError`` of it is shown, and the
        question asked again.
    default
        What an empty answer stands for; None: an empty answer is asked again.

    Raises
    ------
    Quit
        The answer was q, or the input ended.
    """
    shown = f"{question} [{default}]: " if default is not None else f"{question}: "
    while True:
        try:
            answer = input(shown).strip()
        except EOFError:
            print()
            raise Quit from None
        if answer.lower() in QUIT_WORDS:
            raise Quit
        if not answer:
            if default is None:
                continue
            answer = default
        try:
            return check(answer)
        except (MagnetonError, ValueError) as error:
            print(f"  {error}")


def confirm(question: str, default: bool = False) -> bool:
    """A question of yes or no; raises `Quit` as `ask` does."""

    def check(answer: str) -> bool:
        if answer.lower() in ("y", "yes"):
            return True
        if answer.lower() in ("n", "no"):
            return False
        raise ValueError("answer y or n (q leaves)")

    return ask(f"{question} (y/n)", check, "y" if default else "n")
