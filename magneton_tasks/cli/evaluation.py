"""``magneton evaluate``: two volumes of any size, block by block."""

from __future__ import annotations

import json
from typing import Any

import click

from magneton_tasks.errors import ConfigError

#: Edge of the boxes that are compared at a time, in voxels.
EDGE_VOX = 256


def score(segmentation: str, truth: str, mips: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """VI split, VI merge, VI (bits) and ARAND over the voxels that both volumes have and truth labels.

    Raises
    ------
    ConfigError
        The volumes don't meet, or hold no ids.
    """
    from magneton_tasks.kernels.evaluate import ContingencyTable
    from magneton_tasks.stores.volumes import open_volume

    volumes = [open_volume(url, mip) for url, mip in zip((segmentation, truth), mips, strict=True)]
    for volume in volumes:
        if not volume.info.dtype.startswith(("uint", "int", "bool")) or volume.info.channels != 1:
            raise ConfigError(
                f"{volume.info.url} holds {volume.info.channels} channels of {volume.info.dtype}, not one of ids"
            )
    boxes = [v.info.box for v in volumes]
    shared = boxes[0].intersection(boxes[1])
    if shared.is_empty:
        raise ConfigError(
            f"the volumes don't meet: {boxes[0]} and {boxes[1]} (zyx voxels)",
            "compare volumes of one frame, at mips of one voxel size",
        )
    table = ContingencyTable()
    for box in shared.tiles((EDGE_VOX,) * 3):
        table.add(*(v.read(box)[0] for v in volumes))
    scores = table.scores()
    return {
        "vi": scores.vi, "vi_split": scores.vi_split, "vi_merge": scores.vi_merge, "arand": scores.arand,
        "voxels": scores.voxels, "box": str(shared),
    }  # fmt: skip


def show(segmentation: str, truth: str, mips: tuple[int, int], as_json: bool) -> None:
    """Print the scores."""
    scores = score(segmentation, truth, mips)
    if as_json:
        click.echo(json.dumps(scores))
        return
    click.echo(
        f"VI     {scores['vi']:.4f} bits (split {scores['vi_split']:.4f} + merge {scores['vi_merge']:.4f})"
    )
    click.echo(f"ARAND  {scores['arand']:.4f}")
    click.echo(f"over   {scores['voxels']:,} labelled voxels of {scores['box']}")
