"""``magneton view`` and ``report``: look at a result."""

from __future__ import annotations

from pathlib import Path

import click

from magneton_tasks.cli.options import CONFIG, OPEN, PARTITION, PORT, command


@command(example="magneton view volume.yaml --open")
@CONFIG
@PARTITION
@click.option("--truth", metavar="URL", help="A segmentation to show beside the result.")
@OPEN
@PORT
def view(
    config: Path, partition: str | None, truth: str | None, open_browser: bool, port: int
) -> None:
    """Show affinity map and segmentation in Neuroglancer.

    It needs no internet. Ctrl-C ends it. It works while a run is still writing: reload the page to
    see what is new.
    """
    from magneton_tasks.cli.view import viewing

    viewing.view(config, truth=truth, open_browser=open_browser, port=port, partition=partition)


@command(example="magneton report volume.yaml --open")
@CONFIG
@PARTITION
@click.option("--open", "open_browser", is_flag=True, help="Also open the page in the browser.")
def report(config: Path, partition: str | None, open_browser: bool) -> None:
    """Write report.html and report.json of the newest attempt.

    A run writes the report at its end. This command works at any time, also if the run failed or
    is still running.
    """
    from magneton_tasks.cli.view import report as reporting

    reporting.write(config, partition, open_browser)


COMMANDS: tuple[click.Command, ...] = (view, report)
