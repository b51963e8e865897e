"""``magneton view``: from a config to layers, and on to the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from magneton_tasks.config.read import load_config, require_partition
from magneton_tasks.errors import MagnetonError
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
    for note in found.notes:
        click.echo(note)
    serve(
        found.layers,
        position_vox=found.position_vox,
        voxel_size_nm=found.voxel_size_nm,
        shape_vox=found.shape_vox,
        side_by_side=found.side_by_side,
        open_browser=open_browser,
        port=port,
    )


def _attempt(config: Path, partition: str | None) -> Attempt | None:
    """The newest attempt; None where there's none, or another version of Magneton planned it."""
    from magneton_tasks.work.attempt import Attempt

    try:
        return Attempt.open(latest_attempt(config, partition).root)
    except MagnetonError:
        return None
