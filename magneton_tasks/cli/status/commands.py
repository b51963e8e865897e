"""``magneton status``, ``runs`` and ``evaluate``: what became of runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from magneton_tasks.cli.options import CONFIG, JSON, PARTITION, command


@command(example="magneton status volume.yaml --failed --slow 10")
@CONFIG
@PARTITION
@JSON
@click.option("--missing", is_flag=True, help="List the blocks that are still to do.")
@click.option("--failed", is_flag=True, help="List all blocks that failed, with their causes.")
@click.option(
    "--slow", type=click.IntRange(min=1), metavar="N", help="List the N blocks that took longest."
)
@click.option("--watch", is_flag=True, help="Redraw every 2 s while something runs.")
@click.option(
    "--check",
    is_flag=True,
    help="Read all files that records name, and verify their checksums. Exit code 65 if some are "
    "damaged. The next run writes damaged parts of the output again.",
)
def status(
    config: Path,
    partition: str | None,
    as_json: bool,
    missing: bool,
    failed: bool,
    slow: int | None,
    watch: bool,
    check: bool,
) -> None:
    """Show what is done, running, failed or missing, per block.

    It also shows what is stale (made with other settings or from other input), empty, or corrupt
    (with --check).
    """
    from magneton_tasks.cli.status import status as reporting

    code = reporting.show(
        config,
        partition,
        as_json,
        missing=missing,
        failed=failed,
        slow=slow,
        watch=watch,
        check=check,
    )
    sys.exit(code)


@command(example="magneton runs volume.yaml --csv runs.csv")
@CONFIG
@PARTITION
@click.option(
    "--csv", metavar="FILE", help="Write the table as CSV; - writes it to the standard output."
)
@JSON
def runs(config: Path, partition: str | None, csv: str | None, as_json: bool) -> None:
    """List all runs of a volume in one table.

    It shows the settings in which they differ, objects, scores (magneton evaluate keeps them), CPU
    hours, peak memory, start, duration and state. Without --partition, it lists the runs of all
    partitions.
    """
    from magneton_tasks.cli.status import runs as listing

    listing.show(config, partition, csv, as_json)


def _parse_ids(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    """``a,b`` as integers of 64 bits, signed or not."""
    found = []
    for text in (value or "").split(",") if value is not None else ():
        try:
            number = int(text.strip(), 0)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not an id") from None
        if not -(2**63) <= number < 2**64:
            raise click.BadParameter(f"{text.strip()} is not an id of 64 bits")
        found.append(number)
    return tuple(found)


@command(example="magneton evaluate file:///data/segmentation file:///data/truth")
@click.argument("segmentation")
@click.argument("truth")
@click.option(
    "--mip", nargs=2, type=int, default=(0, 0), metavar="SEG TRUTH", help="Mips to compare at."
)
@click.option(
    "--ignore-ids",
    "background",
    callback=_parse_ids,
    metavar="LIST",
    help="Further ids that mean background, besides 0: -1,18446744073709551613.",
)
@click.option(
    "--resample", is_flag=True, help="If voxel sizes differ, compare at the truth's voxel centres."
)
@JSON
def evaluate(
    segmentation: str, truth: str, mip: tuple[int, int], as_json: bool, **how: Any
) -> None:
    """Score a segmentation against a truth: VI and ARAND.

    SEGMENTATION and TRUTH are URLs. VI split and merge are in bits, over voxels with truth > 0.
    Voxel offsets count. Different voxel sizes are refused without --resample.
    """
    from magneton_tasks.trials import evaluation

    evaluation.show(segmentation, truth, mip, as_json, **how)


COMMANDS = (status, runs, evaluate)
