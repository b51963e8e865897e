"""``magneton runs``: one table over the runs of a volume."""

from __future__ import annotations

import json
from pathlib import Path

import click

from magneton_tasks.base import files
from magneton_tasks.config.read import load_config
from magneton_tasks.errors import NoInputError, OutputError, UsageError
from magneton_tasks.outcome import run_rows, run_table
from magneton_tasks.outcome.run_rows import RunRow

#: Columns of a table that goes into a file or a pipe: nothing is cut off.
_WIDTH = 10_000
_STDOUT = "-"


def show(config: Path, partition: str | None, csv: str | None, as_json: bool) -> None:
    """Print the table, or write it as CSV.

    Parameters
    ----------
    partition
        The runs of this one; None: of all there are.
    csv
        A file's name, or ``-`` for the standard output; None: a table for people.

    Raises
    ------
    NoInputError
        There was no run yet.
    OutputError
        The work directory can't be read, or the file can't be written.
    UsageError
        CSV and JSON are both asked for.
    """
    if csv is not None and as_json:
        raise UsageError("--csv and --json contradict each other", "give one of them")
    loaded = load_config(config, partition=partition)
    try:
        rows = run_rows.of_volume(loaded)
    except OSError as error:
        raise OutputError(
            f"the work directory of {config} can't be read: {error}",
            "mend the file system or the permissions",
        ) from error
    if not rows:
        raise NoInputError(
            f"{loaded.paths.work} holds no run yet", f"start one: magneton run {config}"
        )
    if as_json:
        click.echo(json.dumps(run_table.as_data(rows)))
    elif csv == _STDOUT:
        click.echo(run_table.as_csv(rows), nl=False)
    elif csv is not None:
        files.write_atomic(Path(csv), run_table.as_csv(rows).encode())
        click.echo(f"{len(rows)} runs: {csv}")
    else:
        _print(rows)


def _print(rows: list[RunRow]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    columns, texts = run_table.texts(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(
            column.word, justify="right" if column.is_number else "left", overflow="fold",
            no_wrap=column.is_number or not console.is_terminal,
        )  # fmt: skip
    for row in texts:
        table.add_row(*map(Text, row))
    console.print(table)
