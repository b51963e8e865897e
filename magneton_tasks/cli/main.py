"""The command line: ``magneton ...``. Heavy modules are imported where a command needs them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
import yaml

from magneton_tasks import __version__
from magneton_tasks.errors import EXIT_BUG, EXIT_USAGE, MagnetonError, OutputError
from magneton_tasks.paths import CHOICES


class Commands(click.Group):
    """Lists commands in the order in which they are of use, not by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="magneton")
def cli() -> None:
    r"""From an affinity map of an EM volume to one segmentation of the full volume.

    \b
    Begin with:  magneton sample demo && magneton run demo/volume.yaml
    """


def parse_sets(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, object]:
    """``key=value`` options as a dict; values are YAML."""
    sets: dict[str, object] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{text!r} is not key=value")
        try:
            sets[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise click.BadParameter(f"{key}: {value!r} is not YAML") from None
    return sets


def parse_stages(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """``a,b`` as a tuple."""
    return tuple(s.strip() for s in value.split(",") if s.strip()) if value else CHOICES


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `run` and `plan` share."""
    for option in reversed(
        [
            click.option(
                "--set",
                "sets",
                multiple=True,
                metavar="KEY=VALUE",
                callback=parse_sets,
                help="Override a config value, e.g. --set segment.threshold=0.6; may be repeated.",
            ),
            click.option("--partition", help="What {partition} in the paths stands for."),
            click.option(
                "--stages",
                callback=parse_stages,
                metavar="LIST",
                help="Of segment,pool,apply; plan and verify always run, pool implies count.",
            ),
            click.option(
                "--restart", is_flag=True, help="Do these stages anew, also what is done."
            ),
            click.option(
                "--overwrite-output",
                is_flag=True,
                help="Write into an output that belongs to another volume or config.",
            ),
        ]
    ):
        command = option(command)
    return command


CONFIG = click.argument("config", type=click.Path(path_type=Path))


@cli.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--shape",
    nargs=3,
    type=int,
    default=(256, 256, 256),
    show_default=True,
    metavar="Z Y X",
    help="Voxels.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed, another volume.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["precomputed", "zarr"]),
    default="precomputed",
    show_default=True,
)
def sample(
    directory: Path, shape: tuple[int, int, int], seed: int, fmt: Literal["precomputed", "zarr"]
) -> None:
    """Make a realistic sample volume with truth and a volume.yaml in DIRECTORY."""
    from magneton_tasks.sample import write_sample

    config = write_sample(directory, shape, seed, fmt)
    click.echo(f"sample volume in {directory}; segment it with:  magneton run {config}")


@cli.command()
@CONFIG
@run_options
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once.")
@click.option("--dry-run", is_flag=True, help="Print the plan, do nothing.")
def run(config: Path, **options: Any) -> None:
    r"""Run the whole pipeline on this machine, without Airflow.

    \b
    Example:  magneton run volume.yaml --set segment.threshold=0.6 --workers 2
    """
    from magneton_tasks.cli import run as running

    sys.exit(running.run(config, **options))


@cli.command()
@CONFIG
@click.option("--run-id", required=True, help="Names the run; Airflow's run id, for instance.")
@run_options
@click.option("--form", is_flag=True, help="The values come from a form: check them as such.")
def plan(config: Path, run_id: str, form: bool, **options: Any) -> None:
    """Check, find what is to do, and make an attempt; the last line is its JSON."""
    from magneton_tasks.cli import planning

    planning.plan(config, run_id, form=form, **options)


def parse_part(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``I/K`` as integers."""
    if value is None:
        return None
    i, slash, k = value.partition("/")
    if not (slash and i.isdigit() and k.isdigit() and int(i) < int(k)):
        raise click.BadParameter(f"{value!r} is not I/K with 0 <= I < K")
    return int(i), int(k)


ATTEMPT = click.option(
    "--run",
    "attempt",
    required=True,
    type=click.Path(path_type=Path),
    metavar="ATTEMPT_DIR",
    help="As `magneton plan` printed it.",
)


def _mapped(stage: str, text: str) -> None:
    @cli.command(stage, help=text)
    @ATTEMPT
    @click.option(
        "--batch", type=click.IntRange(min=0), default=0, show_default=True, help="Which batch."
    )
    @click.option(
        "--part", callback=parse_part, metavar="I/K", help="The I-th of K shares of the batch."
    )
    def command(attempt: Path, batch: int, part: tuple[int, int] | None) -> None:
        from magneton_tasks.cli import stages

        sys.exit(stages.run_mapped(stage, attempt, batch, part))


def _single(stage: str, text: str) -> None:
    @cli.command(stage, help=text)
    @ATTEMPT
    def command(attempt: Path) -> None:
        from magneton_tasks.cli import stages

        sys.exit(stages.run_single(stage, attempt))


_mapped("segment", "Segment a batch of blocks.")
_mapped("count", "Count how the labels of neighbouring blocks overlap.")
_single("pool", "Join the labels of all blocks and give them global ids.")
_mapped("apply", "Write a batch of cells of the output.")
_mapped("downsample", "Write the mips that don't fit into apply's cells.")
_single("verify", "Prove that the result is complete.")
_single("release", "Give the volume's lease back.")


@cli.command()
@CONFIG
@click.option("--partition", help="What {partition} in the paths stands for.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(config: Path, partition: str | None, as_json: bool) -> None:
    """What is done, running, failed or missing, stage by stage."""
    from magneton_tasks.cli import status as reporting

    reporting.show(config, partition, as_json)


@cli.command()
@click.argument("segmentation")
@click.argument("truth")
@click.option(
    "--mip", nargs=2, type=int, default=(0, 0), metavar="SEG TRUTH", help="Mips to compare at."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def evaluate(segmentation: str, truth: str, mip: tuple[int, int], as_json: bool) -> None:
    """VI split and merge (bits) and ARAND of SEGMENTATION against TRUTH, over voxels with truth > 0."""
    from magneton_tasks.cli import evaluation

    evaluation.show(segmentation, truth, mip, as_json)


@cli.group()
def config() -> None:
    """Check and show volume configs."""


@config.command("check")
@CONFIG
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", callback=parse_sets)
def config_check(config: Path, sets: dict[str, object]) -> None:
    """Check a volume config; prints nothing else than `ok` or what is wrong."""
    from magneton_tasks.config import load_config

    load_config(config, sets)
    click.echo(f"{config}: ok")


@config.command("show")
@CONFIG
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", callback=parse_sets)
def config_show(config: Path, sets: dict[str, object]) -> None:
    """Show a volume config with all defaults filled in."""
    from magneton_tasks.config import load_config

    click.echo(
        yaml.safe_dump(
            load_config(config, sets).resolved(), sort_keys=False, default_flow_style=None
        ),
        nl=False,
    )


@config.command("schema")
def config_schema() -> None:
    """The JSON schema of a volume config."""
    import json

    from magneton_tasks.config import RunConfig

    click.echo(json.dumps(RunConfig.model_json_schema(), indent=1))


def main(argv: list[str] | None = None) -> None:
    """Entry point: errors of ours become a message and their exit code."""
    _die_with_parent()
    try:
        cli.main(args=argv, standalone_mode=False)
    except click.exceptions.Abort:
        _end("stopped", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        sys.exit(EXIT_USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except MagnetonError as error:
        _end(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        _end("stopped; what is done stays, run the same command to go on", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except OSError as error:
        _end(
            f"error: {OutputError(str(error), 'mend the file system, then rerun')}",
            OutputError.exit_code,
        )
    except Exception:
        traceback.print_exc()
        _end("error: this is a bug in Magneton: report it with the lines above", EXIT_BUG)


def _end(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)


def _die_with_parent() -> None:
    """A worker of the local runner ends with the process that started it."""
    if os.environ.pop("MAGNETON_DIE_WITH_PARENT", None) and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
