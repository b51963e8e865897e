"""Questions of the menu."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

import click

from magneton_tasks.cli.console import ask


def choose(question: str, valid: Collection[str], says: str, default: str | None = None) -> str:
    """One of the answers in ``valid``; anything else is told what is (``says``), and asked again.

    Raises
    ------
    Quit
        The answer was q, or the input ended.
    """

    def check(answer: str) -> str:
        if answer.lower() in valid:
            return answer.lower()
        raise ValueError(f"{answer!r} is no option; choose {says}")

    return ask(question, check, default)


def pause() -> None:
    """Let a person read before the menu comes back."""
    with suppress(EOFError, KeyboardInterrupt):
        input("\nEnter to continue ")
    click.echo()
