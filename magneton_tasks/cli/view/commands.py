"""``magneton view``, ``report`` and ``skeleton``: look at a result, and take something of it along."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from magneton_tasks.cli.options import (
    CONFIG,
    OPEN,
    PART,
    PARTITION,
    PORT,
    attempt_option,
    command,
)
from magneton_tasks.cli.run.commands import SKELETON, work_batch


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


@command(SKELETON, example="magneton skeleton volume.yaml 4294967297 4294967312 -o swc")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**64 - 1), metavar="ID...")
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the files. Default: the current one.",
)
@PARTITION
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Which result, where paths.output holds {threshold}.",
)
@attempt_option(required=False)
@click.option("--batch", type=click.IntRange(min=0), help="With --run: number of the batch.")
@PART
def skeleton(
    config: Path | None,
    ids: tuple[int, ...],
    directory: Path | None,
    partition: str | None,
    threshold: float | None,
    attempt: Path | None,
    batch: int | None,
    part: tuple[int, int] | None,
) -> None:
    """Write the skeletons of objects as SWC files.

    One file per ID, of the finished output. Lengths are in micrometres; each component of an object
    is a tree. An object that has no skeleton is told, and the exit code is 66. With --run in the
    place of CONFIG it is the stage that runners call: make the skeletons of cells.
    """
    if attempt is not None:
        if config is not None or ids or directory or partition or threshold is not None:
            raise click.UsageError("--run is the stage, which takes only --batch and --part.")
        work_batch(SKELETON, attempt, batch or 0, part)
    if config is None or not ids:
        missing = "CONFIG' (or --run, for the stage)" if config is None else "ID...'"
        raise click.UsageError(f"Missing argument '{missing}.")
    if batch is not None or part is not None:
        raise click.UsageError("--batch and --part are the stage's: they need --run.")
    from magneton_tasks.cli.view import skeletons

    sys.exit(skeletons.write(config, ids, directory or Path(), partition, threshold))


COMMANDS: tuple[click.Command, ...] = (view, report, skeleton)
