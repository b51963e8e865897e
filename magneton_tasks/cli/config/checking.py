"""``magneton config check``: the file, and what plan would say of the map before any work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from magneton_tasks.config.read import RunConfig, load_config
from magneton_tasks.errors import NoInputError
from magneton_tasks.formats.metadata import VolumeInfo, read_input
from magneton_tasks.plan.geometry import make_geometry
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.stages.planning import checks, doubtful
from magneton_tasks.work.paths import WorkPaths


def check(path: Path, sets: Mapping[str, object], *, file_only: bool) -> None:
    """Print ``ok`` and what may surprise; writes nothing.

    Raises
    ------
    MagnetonError
        The file isn't right; or plan would refuse its paths, or its map.
    """
    config = load_config(path, sets)
    notes = [] if file_only else list(_of_volume(config))
    click.echo(f"{path}: ok")
    for note in notes:
        click.echo(f"  note: {note}")


def _of_volume(config: RunConfig) -> Iterator[str]:
    checks.check_paths(config, write=False)
    if "{partition}" in config.paths.input:
        yield "paths.input holds {partition}: the map wasn't looked at"
        return
    try:
        info = read_input(config)
    except NoInputError:
        if config.wait_for_input.timeout is None:
            raise
        yield f"{config.paths.input} isn't there yet, and a run waits for it"
        return
    yield from _of_map(config, checks.check_input(config, info))


def _of_map(config: RunConfig, info: VolumeInfo) -> Iterator[str]:
    """What plan's samples say."""
    from magneton_tasks.stages.planning.sampling import sample  # imports numpy

    geometry = make_geometry(config, VolumeFacts.of(info))
    samples = sample(
        config,
        geometry.box,
        checks.input_digest(config, info),
        WorkPaths(Path(config.paths.work)).samples,
        grid=geometry.grid,
        write=False,
    )
    yield from info.notes
    yield from doubtful.refuse(config, samples)
    yield from samples.warnings
