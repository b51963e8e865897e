"""``magneton warm``."""

from __future__ import annotations

import sys

import click

from magneton_tasks.cli.options import command


@command(example="srun --constraint=zen3 magneton warm")
@click.option("--check", is_flag=True, help="Only say whether it is done: exit code 0, or 75.")
def warm(check: bool) -> None:
    """Compile what Magneton compiles, once for each kind of CPU.

    Into $MAGNETON_KERNEL_CACHE, or ~/.cache/magneton/kernels; `magneton run` does it by itself.
    """
    from magneton_tasks.cli import warming

    sys.exit(warming.check() if check else warming.warm())


COMMANDS = (warm,)
