"""The questions with which a person changes parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from magneton_tasks.cli.config import parameters as params
from magneton_tasks.cli.config.parameters import Parameter
from magneton_tasks.cli.console import ask, say
from magneton_tasks.cli.paging import paged
from magneton_tasks.errors import MagnetonError

_HELP = """\
  a number         change this parameter
  a word           look for it in names and meanings, such as: threshold
  Enter            done
  q                leave without changes
Values are written as in the YAML file: 0.6, mean, null, 8GiB, [256, 256, 256] or 256 256 256.
A wrong value is refused, with the reason, and the old one stays."""
_DONE = "done"


def edit_table(
    config: Path, given: Mapping[str, object], sections: Collection[str] | None
) -> dict[str, object]:
    """Show the table and let a person change values until Enter; the new overrides.

    Raises
    ------
    Quit
        The answer was q, or the input ended.
    NoInputError, ConfigError
        The config can't be read, or is wrong as it is.
    """
    console, overrides = Console(), dict(given)
    rows = params.parameters(config, overrides, sections)
    _show(console, rows)
    while True:
        answer = ask("number or name to change, Enter: done, ?: help, q: leave", str, _DONE)
        if answer == _DONE:
            return overrides
        if answer == "?":
            say(console, _HELP)
            _show(console, rows)
            continue
        found = find(rows, answer)
        if len(found) != 1:
            _show_found(console, rows, found, answer)
            continue
        before, rows, overrides = rows, *_change(console, config, overrides, sections, found[0])
        for line in params.differences(before, rows):
            say(console, f"  {line}", "bold")
        if [p.key for p in before] != [p.key for p in rows]:
            _show(console, rows)


def _show(console: Console, rows: Sequence[Parameter]) -> None:
    with paged():
        console.print(params.table(rows, console.width))


def find(rows: Sequence[Parameter], answer: str) -> list[Parameter]:
    """The rows that an answer means: a number, a name, or a word of names and meanings."""
    if answer.isdecimal():
        return list(rows[int(answer) - 1 : int(answer)]) if int(answer) else []
    word = answer.casefold()
    exact = [p for p in rows if word in (p.key, p.name)]
    named = [p for p in rows if word in p.key]
    return exact or named or [p for p in rows if word in p.meaning.casefold()]


def _show_found(
    console: Console, rows: Sequence[Parameter], found: Sequence[Parameter], answer: str
) -> None:
    if found:
        numbers = [rows.index(p) + 1 for p in found]
        console.print(params.table(found, console.width, numbers))
    elif answer.isdecimal():
        say(console, f"  there is no number {answer}: 1 to {len(rows)}")
    else:
        say(console, f"  nothing is called {answer!r}")


def _change(
    console: Console,
    config: Path,
    overrides: dict[str, object],
    sections: Collection[str] | None,
    parameter: Parameter,
) -> tuple[list[Parameter], dict[str, object]]:
    """Ask for one value until it is right or left; the rows and overrides then."""
    both = parameter.section == "box"  # half a box would be refused
    rows = params.parameters(config, overrides, ["box"] if both else [parameter.section])
    asked = rows if both else [parameter]
    say(console, f"  {parameter.meaning}")
    while True:
        texts = _typed(asked)
        try:
            overrides = params.all_changed(config, overrides, texts) if texts else overrides
        except MagnetonError as error:
            say(console, f"  {error}", "red")
            continue
        return params.parameters(config, overrides, sections), overrides


def _typed(asked: Sequence[Parameter]) -> dict[str, str]:
    """The new values that were typed, by key; Enter keeps the old."""
    texts = {}
    for p in asked:
        old = params.shown(p.key, p.value)
        text = ask(f"  {p.key}, Enter keeps it", str, old)
        if text == old:
            continue
        texts[p.key] = text
        if p.section == "box" and text == "null":
            return {p.key: text}
    return texts
