"""``magneton doctor``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from magneton_tasks.cli.options import JSON, PARTITION, command


@command(example="magneton doctor volume.yaml")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="Another user who will run it: may they read the input and write? Can be repeated.",
)
@PARTITION
@JSON
def doctor(
    config: Path | None, users: tuple[str, ...], partition: str | None, as_json: bool
) -> None:
    """Say what is missing or odd here, and what to do.

    Looks at Python and the extras, compiled code, memory, disks, umask, Docker, Slurm and Airflow;
    with a CONFIG also at its volumes, paths and runners. Changes nothing. Exit code 0 if nothing
    is wrong, else that of the failure to expect.
    """
    from magneton_tasks.cli.doctor import doctor as looking

    sys.exit(looking.look(config, users, partition, as_json))


COMMANDS = (doctor,)
