"""What the questions of `config new` lead to, and the two ways to ask: a person, or the proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import click

from magneton_tasks.cli import console
from magneton_tasks.config import config_file, template
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.read import parse_config
from magneton_tasks.errors import ConfigError, UsageError

T = TypeVar("T")


class Ask(Protocol):
    """Asks, checks the answer, and gives what the check made of it."""

    def __call__(self, question: str, check: Callable[[str], T], default: str | None, /) -> T: ...


#: Makes a whole config of a few answers, so that these can be checked.
COMPLETE: Mapping[str, object] = {
    "paths.input": "file:///input",
    "paths.output": "file:///output",
    "paths.work": "/work",
}


@dataclass(slots=True)
class Answers:
    """What the config will say: values by dotted key, and why."""

    values: dict[str, object] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def set(self, key: str, value: object, *notes: str) -> None:
        self.values[key] = value
        if notes:
            self.notes[key] = list(notes)

    def text(self, head: list[str] | None = None) -> str:
        return template.render(self.values, head or [], self.notes)

    def config(self, name: str = "these answers") -> RunConfig:
        return parse_config(self.text(), name)

    def trial(self) -> RunConfig:
        """What there is so far as a config, whatever is still to be asked."""
        return Answers({**COMPLETE, **self.values}).config()

    def ask(
        self,
        ask: Ask,
        key: str,
        question: str,
        proposal: object,
        *notes: str,
        also: Callable[[object], Mapping[str, object]] = lambda _: {},
    ) -> None:
        """Ask for a key of the config; the answer is checked as the config would be.

        Parameters
        ----------
        notes
            Why it's proposed; kept as comments if the proposal is taken.
        also
            Other keys that must fit the answer and are asked for later, by the answer.
        """

        def check(text: str) -> object:
            value = config_file.value_of(text)
            trial = Answers({**COMPLETE, **self.values, key: value})
            with suppress(TypeError, ValueError):  # a wrong form, which the config says better
                trial.values.update(also(value))
            try:
                trial.config()
            except ConfigError as error:
                raise ValueError(error.what.partition(": ")[2]) from None
            return value

        value = ask(question, check, template.one_line(proposal))
        self.set(key, value, *(notes if value == proposal else ()))


def questions(question: str, check: Callable[[str], T], default: str | None, /) -> T:
    """Ask a person; raises `console.Quit`."""
    return console.ask(question, check, default)


def proposals(question: str, check: Callable[[str], T], default: str | None, /) -> T:
    """The proposal, checked as an answer would be."""
    if default is None:
        raise UsageError(f"there is no proposal for: {question}", "omit --yes to be asked")
    try:
        value = check(default)
    except ValueError as error:
        raise UsageError(f"{question}: {error}", "omit --yes to be asked") from None
    click.echo(f"{question}: {default}")
    return value


def confirm(question: str, default: bool) -> None:
    """A question of yes or no; no leaves, as q does."""
    if not console.confirm(question, default):
        raise console.Quit
