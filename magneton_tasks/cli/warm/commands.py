"""``magneton warm``."""

from __future__ import annotations

import sys

import click

from magneton_tasks.cli.options import command


@command(example="srun --constraint=zen3 magneton warm")
@click.option(
    "--check", is_flag=True, help="Compile nothing. Exit with 0 if all is compiled, else with 75."
)
def warm(check: bool) -> None:
    """Compile Magneton's kernels, once per kind of CPU.

    They go to $MAGNETON_KERNEL_CACHE or ~/.cache/magneton/kernels. `magneton run` does this by
    itself.
    """
    from magneton_tasks.cli.warm import warming

    sys.exit(warming.check() if check else warming.warm())


COMMANDS = (warm,)
