"""The first screen. What it imports decides how soon it is there: the rest comes when it's chosen."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from magneton_tasks.cli.console import Quit, say
from magneton_tasks.cli.menu.asking import choose, pause
from magneton_tasks.cli.menu.facts import facts

_ELSEWHERE = {
    "1": "The processing toolkit is not part of this tool: Magneton begins with an affinity map, "
    "as precomputed or Zarr.",
    "2": "Affinity inference is not part of this tool: run your network, and give Magneton the "
    "affinity map that it writes.",
}
_OPTIONS = (
    ("1", "processing toolkit", "not part of this tool"),
    ("2", "affinity inference", "not part of this tool"),
    ("3", "instance segmentation", "from an affinity map to one segmentation of the full volume"),
    ("0", "leave", "as q does, at every question"),
)


def open_menu() -> None:
    """The menu, until a person leaves it."""
    with suppress(ImportError):
        import readline  # noqa: F401 (arrow keys in what is typed)
    console = Console()
    with suppress(Quit, KeyboardInterrupt):
        while _main(console):
            pass
    click.echo()


def _main(console: Console) -> bool:
    """The main menu once; False: leave."""
    console.print(_screen(Path.cwd()))
    options = Table("option", "function", "description", box=None, pad_edge=False)
    for row in _OPTIONS:
        options.add_row(*row)
    console.print(options)
    click.echo()
    answer = choose("option", [row[0] for row in _OPTIONS], "1, 2, 3, or 0 to leave")
    if answer == "0":
        return False
    if answer in _ELSEWHERE:
        say(console, _ELSEWHERE[answer])
        pause()
        return True
    from magneton_tasks.cli.menu import segmentation

    with suppress(Quit, KeyboardInterrupt):
        segmentation.open_menu(console)
    click.echo()
    return True


def _screen(here: Path) -> Table:
    table = Table(
        title="Magneton: from affinity maps to segmentations, block by block",
        title_justify="left",
        show_header=False,
        box=None,
        pad_edge=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(here):
        table.add_row(name, Text(value))
    table.add_row("", "")
    return table
