"""What ``magneton clean`` does with containers and jobs of runs that are over: list, ask, end, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import click

from magneton_tasks.base.units import several
from magneton_tasks.cli import console
from magneton_tasks.errors import EXIT_OK

T = TypeVar("T")


@dataclass(frozen=True)
class LeftBehind(Generic[T]):
    """What runs of a volume left behind.

    Attributes
    ----------
    what
        ``containers``: as ``--what`` takes it.
    verb, past
        What becomes of them: ``remove``, ``removed``.
    line, data
        One of them for people, and for programs.
    end
        Ends them; their names.
    """

    work: str
    what: str
    verb: str
    past: str
    found: Sequence[T]
    line: Callable[[T], str]
    data: Callable[[T], dict[str, Any]]
    end: Callable[[Sequence[T]], list[str]]

    def clean(self, dry_run: bool, yes: bool, as_json: bool) -> int:
        """List, ask, end; returns the exit code. Parameters as those of `cli.clean.clean.clean`.

        Raises
        ------
        Quit
            The question was left.
        """
        if as_json:
            ended = [] if dry_run else self.end(self.found)
            click.echo(
                json.dumps(
                    {
                        "work": self.work,
                        "what": self.what,
                        "dry_run": dry_run,
                        self.what: [self.data(one) for one in self.found],
                        self.past: ended,
                    }
                )
            )
            return EXIT_OK
        for one in self.found:
            click.echo(self.line(one))
        if not self.found:
            click.echo(f"no {self.what[:-1]} of a run that is over, of {self.work}")
        if dry_run or not self.found:
            return EXIT_OK
        amount = several(len(self.found), self.what[:-1])
        if not yes and not console.confirm(f"{self.verb} {amount}?"):
            raise console.Quit
        self.end(self.found)
        click.echo(f"{self.past} {amount}")
        return EXIT_OK
