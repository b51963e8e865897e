"""``magneton check-layer``."""

from __future__ import annotations

import sys

import click

from magneton_tasks.cli.options import JSON, command


@command("check-layer", example="magneton check-layer gs://bucket/segmentation --dust 1000")
@click.argument("url")
@click.option(
    "--mip",
    type=click.IntRange(min=0),
    help="Count objects here. Default: where their meshes or skeletons were made.",
)
@click.option(
    "--dust",
    type=click.IntRange(min=0),
    metavar="VOXELS",
    help="Objects of fewer voxels at that mip need no mesh. Default: as Magneton's config says, else all need one.",
)
@click.option(
    "--skeleton-dust",
    type=click.IntRange(min=0),
    metavar="VOXELS",
    help="Objects of fewer voxels need no skeleton. Default: as Magneton's config says, else none needs one.",
)
@click.option("--sparse", is_flag=True, help="Chunks that aren't there are background.")
@click.option(
    "--read",
    "reads",
    is_flag=True,
    help="Also read and decode all voxels of all mips, and all meshes.",
)
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Look at N meshes and N skeletons of each shard only, instead of at all.",
)
@JSON
def check_layer(
    url: str,
    mip: int | None,
    dust: int | None,
    skeleton_dust: int | None,
    sparse: bool,
    reads: bool,
    sample: int | None,
    as_json: bool,
) -> None:
    """Check a precomputed segmentation, whoever made it.

    Whether info, chunks, shards, meshes, skeletons and segment properties are there and whole, and
    whether each object of the labels has its mesh. Changes nothing. Exit code 0 if all is right,
    65 if something is wrong.
    """
    from magneton_tasks.cli.check import checking
    from magneton_tasks.formats.precomputed.checking.layer import Wanted

    wanted = Wanted(mip, dust, skeleton_dust, sparse, reads, sample)
    sys.exit(checking.check(url, wanted, as_json))


COMMANDS = (check_layer,)
