"""``magneton airflow ...``."""

from __future__ import annotations

from pathlib import Path

import click

from magneton_tasks.cli.options import Commands, command


@click.group(cls=Commands, epilog="\b\nExample:  magneton airflow init ~/airflow/dags")
def airflow() -> None:
    """Use Magneton in an Airflow of your own."""


@command("init", example="magneton airflow init ~/airflow/dags --configs /data/configs")
@click.argument("dags", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--configs",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the volume configs are while $MAGNETON_CONFIGS isn't set. Default: configs/ beside DIR.",
)
def airflow_init(dags: Path, configs: Path | None) -> None:
    """Write the DAG files into your dags folder DIR.

    They import the installed package. It says what else that Airflow needs. It can be repeated; a file of
    the same name that somebody else wrote is refused.
    """
    from magneton_tasks.cli.airflow import init as writing

    writing.init(dags, configs)


airflow.add_command(airflow_init)

COMMANDS = (airflow,)
