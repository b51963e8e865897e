"""``magneton clean``: free what can be computed again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from magneton_tasks.clean import kinds
from magneton_tasks.cli.options import CONFIG, JSON, PARTITION, command


def parse_older_than(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """``7d`` as seconds."""
    from magneton_tasks.base.units import parse_duration

    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@command(example="magneton clean volume.yaml --what stale --older-than 7d --dry-run")
@CONFIG
@click.option(
    "--what",
    type=click.Choice([*kinds.IN_WORK, *(n for n in kinds.NAMES if n not in kinds.IN_WORK)]),
    default="cache",
    show_default=True,
    help=kinds.meanings(),
)
@click.option(
    "--older-than",
    "older_than_s",
    callback=parse_older_than,
    metavar="TIME",
    help="Free only what has not changed for this long: 30m, 12h, 7d, 2w.",
)
@click.option("--dry-run", is_flag=True, help="List what would be freed; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@PARTITION
@JSON
def clean(
    config: Path,
    what: str,
    older_than_s: float | None,
    dry_run: bool,
    yes: bool,
    partition: str | None,
    as_json: bool,
) -> None:
    """Free what can be computed again; the output stays.

    It deletes only files inside paths.work, and only those that Magneton made.
    """
    from magneton_tasks.cli.clean import clean as cleaning

    sys.exit(cleaning.clean(config, what, older_than_s, dry_run, yes, partition, as_json))


@command(example="magneton maintain configs/cortex.yaml --older-than 30d --dry-run")
@CONFIG
@click.option(
    "--what",
    multiple=True,
    type=click.Choice(kinds.NAMES),
    default=kinds.MAINTAINED,
    show_default=True,
    help="As in `magneton clean`. Can be repeated. "
    f"{' and '.join(kinds.IF_VERIFIED)} are freed only if their run is verified.",
)
@click.option(
    "--older-than",
    "older_than_s",
    callback=parse_older_than,
    default="30d",
    show_default=True,
    metavar="TIME",
    help="Free only what has not changed for this long: 12h, 7d, 2w.",
)
@click.option("--dry-run", is_flag=True, help="List what would be freed; change nothing.")
def maintain(config: Path, what: tuple[str, ...], older_than_s: float, dry_run: bool) -> None:
    """Free what old runs of a volume left, without asking.

    It covers all partitions, except those that a run is working on. Like `clean`, it deletes only
    files inside paths.work, and only those that Magneton made. Airflow's DAG magneton_maintenance
    calls this command per volume.
    """
    from magneton_tasks.cli.clean import maintain as maintaining

    sys.exit(maintaining.maintain(config, what, older_than_s, dry_run))


COMMANDS = (clean, maintain)
