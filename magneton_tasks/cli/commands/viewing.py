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
    """Look at affinity map and segmentation in Neuroglancer.

    Needs no internet; Ctrl-C ends it. Works while a run is still writing: reload the page to see what has been added.
    """
    from magneton_tasks.cli import viewing

    viewing.view(config, truth=truth, open_browser=open_browser, port=port, partition=partition)


@command(example="magneton report volume.yaml --open")
@CONFIG
@PARTITION
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser, too.")
def report(config: Path, partition: str | None, open_browser: bool) -> None:
    """Write report.html and report.json of the newest attempt.

    A run writes it at its end; this works at any time, also for a run that failed or goes on.
    """
    from magneton_tasks.cli import report as reporting

    reporting.write(config, partition, open_browser)


COMMANDS: tuple[click.Command, ...] = (view, report)
