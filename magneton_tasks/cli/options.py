"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from magneton_tasks.plan.stage_table import CHOICES


class Commands(click.Group):
    """Lists commands in the order in which they are of use, not by name; hidden ones on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """With `show_all`, also what runs call."""
        super().format_commands(ctx, formatter)
        if ctx.meta.get(_ALL):
            hidden = [(n, c.get_short_help_str(70)) for n, c in self.commands.items() if c.hidden]
            with formatter.section("What runs call (Airflow, containers, jobs)"):
                formatter.write_dl(hidden)


#: In the context: hidden commands are listed, too.
_ALL = "magneton.help_all"


def show_all(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the help with hidden commands, and end."""
    if wanted:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


def command(
    name: str | None = None, *, example: str, **attributes: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """``click.command`` whose help ends with an example."""
    return click.command(name, epilog=f"\b\nExample:  {example}", **attributes)


def parse_sets(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, object]:
    """``key=value`` options as a dict; values are YAML."""
    from magneton_tasks.config import config_file, renamed

    sets: dict[str, object] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not key=value")
        try:
            sets[key] = config_file.value_of(value)
        except ValueError as error:
            raise click.BadParameter(f"{key}: {error}") from None
    return renamed.given(sets, "--set")


def parse_stages(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """``a,b`` as a tuple."""
    return tuple(s.strip() for s in value.split(",") if s.strip()) if value else CHOICES


def parse_thresholds(_: click.Context, __: click.Parameter, value: str | None) -> tuple[float, ...]:
    """``.25,.3`` as numbers; none where it isn't given."""
    if value is None:
        return ()
    from magneton_tasks.config.thresholds import thresholds_of

    try:
        return thresholds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_part(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``I/K`` as integers."""
    if value is None:
        return None
    i, slash, k = value.partition("/")
    if not (slash and i.isdecimal() and k.isdecimal() and int(i) < int(k)):
        raise click.BadParameter(f"{value!r} is not I/K with 0 <= I < K")
    return int(i), int(k)


CONFIG = click.argument("config", type=click.Path(path_type=Path))
PARTITION = click.option("--partition", help="Value of {partition} in the paths.")
SETS = click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    callback=parse_sets,
    help="Override a config value, e.g. --set segment.threshold=0.6. Can be repeated.",
)
OPEN = click.option(
    "--open", "open_browser", is_flag=True, help="Also open the link in the browser."
)
PORT = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on this machine's loopback. Default: a free one.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
PART = click.option(
    "--part",
    callback=parse_part,
    metavar="I/K",
    help="Run only share I of K of the batch; I counts from 0.",
)
#: Of stages that work groups of blocks.
GROUP_BATCH = click.option(
    "--batch",
    type=click.IntRange(min=0),
    help="Number of the batch. Without it: find out which groups and batches there are.",
)


def attempt_option(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--run``, by which a stage gets its attempt."""
    return click.option(
        "--run",
        "attempt",
        required=required,
        type=click.Path(path_type=Path),
        metavar="ATTEMPT_DIR",
        help="Directory of the attempt, as `magneton plan` printed it.",
    )


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `run` and `plan` share."""
    for option in reversed(
        [
            SETS,
            PARTITION,
            click.option(
                "--stages",
                callback=parse_stages,
                metavar="LIST",
                help="Stages to run, of segment,pool,apply. plan and verify always run. pool includes all that lies between segment and apply.",
            ),
            click.option(
                "--restart", is_flag=True, help="Run these stages again, including what is done."
            ),
            click.option(
                "--overwrite-output",
                is_flag=True,
                help="Allow an output that belongs to another volume or config.",
            ),
            click.option(
                "--thresholds",
                callback=parse_thresholds,
                metavar="LIST",
                help="A result at each of these thresholds, e.g. .25,.3,.4; paths.output must hold {threshold}.",
            ),
            click.option("--yes", is_flag=True, help="Replace a finished result without asking."),
        ]
    ):
        command = option(command)
    return command
