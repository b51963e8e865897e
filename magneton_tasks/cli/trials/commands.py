"""``magneton try``, ``tune`` and ``cut``: which threshold is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.cli.options import (
    CONFIG,
    GROUP_BATCH,
    JSON,
    OPEN,
    PART,
    PARTITION,
    PORT,
    SETS,
    attempt_option,
    command,
)
from magneton_tasks.cli.run.commands import CUT, work_groups

_SPAN = r"(-?\d+):(-?\d+)"


def _parse_box(_: click.Context, __: click.Parameter, value: str | None) -> Box | None:
    """``z0:z1,y0:y1,x0:x1`` as a box."""
    if value is None:
        return None
    match = re.fullmatch(rf"\s*{_SPAN}\s*,\s*{_SPAN}\s*,\s*{_SPAN}\s*", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not z0:z1,y0:y1,x0:x1")
    numbers = [int(text) for text in match.groups()]
    box = Box(vec3(numbers[::2]), vec3(numbers[1::2]))
    if box.is_empty:
        raise click.BadParameter(f"{value!r} is empty: each end must lie above its begin")
    return box


def _parse_threshold(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """A single threshold."""
    if value is None:
        return None
    from magneton_tasks.config.thresholds import thresholds_of

    try:
        (threshold,) = thresholds_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error) if "," not in value else "give only one") from None
    return threshold


BOX = click.option(
    "--box",
    callback=_parse_box,
    metavar="Z0:Z1,Y0:Y1,X0:X1",
    help="Box in voxels of the input's mip, voxel offset included. Default: one block at the centre.",
)


@command("try", example="magneton try volume.yaml --open")
@CONFIG
@BOX
@click.option(
    "--thresholds",
    metavar="LIST",
    help="Affinities: .5,.6,.7 or first:last:step. Default: with exact, the map's own threshold and some on both sides of it; with overlap, .3,.5,.7,.9.",
)
@click.option(
    "--scoring", metavar="FUNCTION", help="Merge function, or exact, instead of the config's."
)
@SETS
@PARTITION
@click.option(
    "--no-view", is_flag=True, help="Make the layers and print the table, without the viewer."
)
@OPEN
@PORT
@JSON
def try_(config: Path, thresholds: str | None, no_view: bool, **options: Any) -> None:
    """Segment a box at several thresholds, see them side by side.

    It needs no truth. One agglomeration serves all thresholds. Each threshold becomes a layer under
    paths.work; existing layers are not made again. With --json, it opens nothing.
    """
    from magneton_tasks.cli.trials import trying
    from magneton_tasks.trials.trial import parse_thresholds

    trying.try_thresholds(
        config,
        thresholds=parse_thresholds(thresholds) if thresholds is not None else (),
        view=not no_view and not options["as_json"],
        **options,
    )


@command(example="magneton tune volume.yaml --truth file:///data/truth --scoring mean,aff50_his256")
@CONFIG
@click.option(
    "--truth",
    metavar="URL",
    required=True,
    help="Segmentation with the true ids. Voxels with id 0 are not scored.",
)
@click.option("--truth-mip", type=click.IntRange(min=0), default=0, help="Mip of the truth.")
@BOX
@click.option(
    "--scoring",
    metavar="LIST",
    default="",
    help="Merge functions; exact means the exact method. Default: the config's.",
)
@click.option(
    "--thresholds",
    metavar="LIST",
    help="Affinities: .5,.6,.7 or first:last:step. Default: 0.05:1:0.05. Threshold 1 gives the bare supervoxels.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG file for the curves. Default: CONFIG's name with -tune.png, in its directory.",
)
@click.option(
    "--write", is_flag=True, help="Write the best setting into CONFIG. Its comments stay."
)
@SETS
@PARTITION
@JSON
def tune(
    config: Path,
    truth: str,
    scoring: str,
    thresholds: str | None,
    write: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Score thresholds on a box with truth, propose the best.

    It computes VI split and merge (bits) and ARAND over voxels with truth > 0. It segments as a run
    would: with the overlap method, it matches blocks of block.size. Near ties go to the exact method.
    """
    from magneton_tasks.cli.trials import tuning
    from magneton_tasks.trials.trial import parse_thresholds

    request = tuning.TuneRequest(
        config,
        truth,
        functions=tuple(name for name in (s.strip() for s in scoring.split(",")) if name),
        thresholds=parse_thresholds(thresholds) if thresholds is not None else (),
        **options,
    )
    tuning.tune(request, write=write, as_json=as_json)


@command(CUT, example="magneton cut volume.yaml --threshold .35")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@PARTITION
@click.option(
    "--threshold",
    callback=_parse_threshold,
    metavar="AFFINITY",
    help="Also list the largest objects and all sizes at this one, from 0 to 1.",
)
@JSON
@attempt_option(required=False)
@GROUP_BATCH
@PART
def cut(
    config: Path | None,
    partition: str | None,
    threshold: float | None,
    as_json: bool,
    attempt: Path | None,
    batch: int | None,
    part: tuple[int, int] | None,
) -> None:
    """Show what each threshold leaves (method: exact).

    That is how many objects, of which sizes, and how large the largest is. It reads the sums of the newest pool of the exact method, in seconds, and opens no volume. With
    --run in the place of CONFIG it is the stage that runners call: cut groups of blocks at the
    run's threshold.
    """
    if attempt is not None:
        if config is not None or partition or threshold is not None or as_json:
            raise click.UsageError("--run is the stage, which takes only --batch and --part.")
        work_groups(CUT, attempt, batch, part)
    if config is None:
        raise click.UsageError("Missing argument 'CONFIG' (or --run, for the stage).")
    if batch is not None or part is not None:
        raise click.UsageError("--batch and --part are the stage's: they need --run.")
    from magneton_tasks.cli.trials import cutting

    cutting.show(config, partition, threshold, as_json)


COMMANDS: tuple[click.Command, ...] = (try_, tune, cut)
