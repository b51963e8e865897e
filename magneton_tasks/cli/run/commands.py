"""``magneton sample``, ``run``, ``plan`` and the stages that runners call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, NoReturn

import click

from magneton_tasks.base.importing import importing
from magneton_tasks.cli.options import (
    CONFIG,
    GROUP_BATCH,
    PART,
    PARTITION,
    attempt_option,
    command,
    run_options,
)
from magneton_tasks.config.runner_names import RUNNER_NAMES
from magneton_tasks.plan.stage_table import PROBE, TABLE, Stage


@command(example="magneton sample demo --shape 128 256 256")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--shape",
    nargs=3,
    type=int,
    default=(256, 256, 256),
    show_default=True,
    metavar="Z Y X",
    help="Shape in voxels.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed makes another volume.")
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
    """Make a sample volume with truth and a config in DIRECTORY."""
    from magneton_tasks.base.signs import Signs
    from magneton_tasks.runners.warming import ensure_warm
    from magneton_tasks.sample import write_sample
    from magneton_tasks.sample.volume import check_sample_parameters

    check_sample_parameters(shape, seed)
    ensure_warm(click.echo)
    with Signs(lambda seconds: f"making the sample, {seconds:.0f} s"):
        config = write_sample(directory, shape, seed, fmt)
    click.echo(f"sample volume in {directory}; segment it with:  magneton run {config}")


@command(example="magneton run volume.yaml --set segment.threshold=0.6 --workers 2")
@CONFIG
@run_options
@click.option("--workers", type=click.IntRange(min=1), help="Processes at the same time.")
@click.option(
    "--runner",
    type=click.Choice(RUNNER_NAMES),
    help="Where stages run. Default: the config's runner.default.",
)
@click.option(
    "--detach", is_flag=True, help="With Slurm: plan, then continue in the background (see attach)."
)
@click.option("--dry-run", is_flag=True, help="Print the plan and change nothing.")
def run(config: Path, **options: Any) -> None:
    """Run the whole pipeline from this machine, without Airflow."""
    with importing():
        from magneton_tasks.cli.run import here as running

    sys.exit(running.run(config, **options))


@command(example="magneton attach volume.yaml")
@click.argument("where", type=click.Path(path_type=Path), metavar="CONFIG_OR_ATTEMPT")
@PARTITION
def attach(where: Path, partition: str | None) -> None:
    """Follow a run on a cluster that continues without a terminal.

    If another process follows the run, it hands the run over to this one.
    """
    from magneton_tasks.cli.run import jobs

    sys.exit(jobs.attach(where, partition))


@command(example="magneton plan volume.yaml --run-id trial", hidden=True)
@CONFIG
@click.option("--run-id", required=True, help="Name of the run, for example Airflow's run id.")
@run_options
@click.option(
    "--form",
    is_flag=True,
    help="As a DAG asks: check the values as those of its form; few blocks are a batch each.",
)
def plan(config: Path, run_id: str, form: bool, **options: Any) -> None:
    """Check the config, find what is to do, make an attempt.

    The last line of the output is the attempt as JSON.
    """
    with importing():
        from magneton_tasks.cli.run import planning

    planning.plan(config, run_id, form=form, **options)


ATTEMPT = attempt_option()


def _mapped(stage: str, text: str) -> click.Command:
    @command(
        stage,
        help=text,
        example=f"magneton {stage} --run work/runs/trial/1 --batch 0",
        hidden=True,
    )
    @ATTEMPT
    @click.option(
        "--batch",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Number of the batch.",
    )
    @PART
    def run_mapped(attempt: Path, batch: int, part: tuple[int, int] | None) -> None:
        work_batch(stage, attempt, batch, part)

    return run_mapped


def work_batch(stage: str, attempt: Path, batch: int, part: tuple[int, int] | None) -> NoReturn:
    """One batch of a mapped stage; ends with the exit code."""
    with importing():
        from magneton_tasks.cli.run import stages

    sys.exit(stages.run_mapped(stage, attempt, batch, part))


def _grouped(stage: str, text: str) -> click.Command:
    @command(
        stage,
        help=text,
        example=f"magneton {stage} --run work/runs/trial/1 --batch 0",
        hidden=True,
    )
    @ATTEMPT
    @GROUP_BATCH
    @PART
    def run_grouped(attempt: Path, batch: int | None, part: tuple[int, int] | None) -> None:
        work_groups(stage, attempt, batch, part)

    return run_grouped


def work_groups(
    stage: str, attempt: Path, batch: int | None, part: tuple[int, int] | None
) -> NoReturn:
    """One batch of a stage that works groups, or finding these out; ends with the exit code."""
    from magneton_tasks.cli.run import stages

    if batch is None:
        sys.exit(stages.run_groups(stage, attempt))
    sys.exit(stages.run_mapped(stage, attempt, batch, part))


def _of_each(stage: str, text: str) -> click.Command:
    @command(stage, help=text, example=f"magneton {stage} --run work/runs/trial/1", hidden=True)
    @ATTEMPT
    @click.option(
        "--batch",
        type=click.IntRange(min=0),
        help="Number of the threshold, of several. Default: all, one after the other.",
    )
    def run_of_each(attempt: Path, batch: int | None) -> None:
        with importing():
            from magneton_tasks.cli.run import stages

        sys.exit(stages.run_single(stage, attempt, batch))

    return run_of_each


def _single(stage: str, text: str) -> click.Command:
    @command(stage, help=text, example=f"magneton {stage} --run work/runs/trial/1", hidden=True)
    @ATTEMPT
    def run_single(attempt: Path) -> None:
        with importing():
            from magneton_tasks.cli.run import stages

        sys.exit(stages.run_single(stage, attempt))

    return run_single


def _command_of(stage: Stage) -> click.Command:
    if stage.grid == "groups":
        return _grouped(stage.name, stage.about)
    if stage.is_of_each:
        return _of_each(stage.name, stage.about)
    return (_mapped if stage.grid else _single)(stage.name, stage.about)


#: Persons' commands, too: `cli.trials.commands` and `cli.view.commands` have them.
CUT, SKELETON = "cut", "skeleton"
STAGES = (
    *(_command_of(s) for s in (PROBE, *TABLE) if s.name not in (CUT, SKELETON)),
    _single("release", "Give the volume's lease back."),
)
