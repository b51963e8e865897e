"""``magneton view``: from a config to layers, and on to the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from magneton_tasks.base.units import human_count, several
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.errors import MagnetonError
from magneton_tasks.outcome import curve as curves
from magneton_tasks.outcome.curve import Level
from magneton_tasks.viewer.of_config import view_of
from magneton_tasks.viewer.serve import require_packages, serve
from magneton_tasks.work.attempts import latest_attempt

if TYPE_CHECKING:
    from magneton_tasks.work.attempt import Attempt


def view(
    config: Path, *, truth: str | None, open_browser: bool, port: int, partition: str | None
) -> None:
    """Serve a volume's layers until Ctrl-C.

    Raises
    ------
    NoInputError
        Nothing to see, or no such config.
    ConfigError, UsageError
        A wrong config; a missing package, a taken port.
    """
    require_packages()
    read = load_config(config, partition=partition)
    require_partition(read, str(config))
    found = view_of(read, _attempt(config, partition), truth)
    for line in (*found.notes, *objects_at(read, found.thresholds)):
        click.echo(line)
    serve(
        found.layers,
        position_vox=found.position_vox,
        voxel_size_nm=found.voxel_size_nm,
        shape_vox=found.shape_vox,
        side_by_side=found.side_by_side,
        open_browser=open_browser,
        port=port,
    )


def objects_at(config: RunConfig, thresholds: Sequence[float]) -> list[str]:
    """A table of the objects at each threshold that is shown; none where no pool tells of them."""
    try:
        curve = curves.newest(config) if thresholds else None
        levels = [curve.at(threshold) for threshold in thresholds] if curve else []
    except MagnetonError:
        return []
    rows = [
        (text_of(threshold), human_count(level.objects), f"{level.share:.1%}", _median(level))
        for threshold, level in zip(thresholds, levels, strict=True)
    ]
    heads = ("threshold", "objects", "largest object", "size class of the median object")
    return [f"{a:>9}  {b:>12}  {c:>14}  {d}" for a, b, c, d in (heads, *rows)] if rows else []


def _median(level: Level) -> str:
    low, high = level.median_vox
    return f"{human_count(low)} to {several(high, 'voxel')}"


def _attempt(config: Path, partition: str | None) -> Attempt | None:
    """The newest attempt; None where there's none, or another version of Magneton planned it."""
    from magneton_tasks.work.attempt import Attempt

    try:
        return Attempt.open(latest_attempt(config, partition).root)
    except MagnetonError:
        return None
