"""``magneton report``: the report of the newest attempt, written anew."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from magneton_tasks.outcome.report import write_report
from magneton_tasks.work.attempts import open_latest


def write(config: Path, partition: str | None = None, open_browser: bool = False) -> None:
    """Write the report of the newest attempt of a volume, and print where its page lies.

    Raises
    ------
    NoInputError
        There's no attempt yet.
    ConfigError
        Another version of Magneton planned it.
    OutputError
        Disk full, quota, I/O error.
    """
    attempt = open_latest(config, partition)
    write_report(attempt)
    click.echo(str(attempt.paths.page))
    if open_browser:
        webbrowser.open(attempt.paths.page.as_uri())
