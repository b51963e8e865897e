"""``magneton skeleton``: skeletons of chosen objects, as SWC files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from magneton_tasks.base.files import write_atomic
from magneton_tasks.base.location import locate
from magneton_tasks.base.units import several
from magneton_tasks.config.read import RunConfig, load_config, require_partition
from magneton_tasks.config.thresholds import text_of, uses_threshold
from magneton_tasks.config.types import THRESHOLD
from magneton_tasks.errors import EXIT_NO_INPUT, EXIT_OK, NoInputError, UsageError
from magneton_tasks.formats import swc
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.skeletons import Skeletons, StoredSkeleton
from magneton_tasks.outcome.object_table import um3_of

#: So much more than dust at mip 0, and an object isn't dust at any mip but for the thinnest.
_SURE = 4.0


def write(
    config: Path,
    ids: Sequence[int],
    directory: Path,
    partition: str | None,
    threshold: float | None,
) -> int:
    """Write a file ``<id>.swc`` for each object that has a skeleton, and tell of those that have none.

    Returns
    -------
    int
        The exit code: 66 if an object has none.

    Raises
    ------
    NoInputError
        There are no skeletons (yet).
    UsageError
        Which threshold isn't clear.
    BadDataError, OutputError
        A file is damaged; a file can't be written.
    """
    read = load_config(config, partition=partition)
    require_partition(read, str(config))
    objects = Objects(locate(_output(read, threshold)))
    skeletons = _skeletons(read, objects)
    lacking = []
    for one in dict.fromkeys(ids):
        found = skeletons.get(one)
        if found is None:
            lacking.append(one)
            continue
        path = directory / f"{one}{swc.SUFFIX}"
        write_atomic(path, swc.text(found, one, objects.location.url).encode())
        click.echo(f"{path}: {_size(found)}")
    for line in _why(read, objects, lacking):
        click.echo(line, err=True)
    return EXIT_NO_INPUT if lacking else EXIT_OK


def _output(config: RunConfig, threshold: float | None) -> str:
    """The URL of the segmentation."""
    if not uses_threshold(config):
        if threshold is not None:
            raise UsageError(
                f"--threshold: paths.output holds no {THRESHOLD}, so there is one result"
            )
        return config.paths.output
    if threshold is None:
        raise UsageError(
            f"paths.output holds {THRESHOLD}: which result is meant?", "add --threshold"
        )
    return config.paths.output.replace(THRESHOLD, text_of(threshold))


def _skeletons(config: RunConfig, objects: Objects) -> Skeletons:
    found = Skeletons.of(objects)
    if found is not None:
        return found
    where = objects.location.url
    if config.skeleton is None:
        raise NoInputError(
            f"{where} has no skeletons: the config doesn't ask for any",
            "add the line  skeleton: {mip: 2}  to the config, and run it again: only they are made",
        )
    raise NoInputError(
        f"{where} has no skeletons yet",
        "run the config; magneton status shows how far it is",
    )


def _size(skeleton: StoredSkeleton) -> str:
    vertices = several(len(skeleton.radii), "vertex", "vertices")
    return f"{vertices}, {skeleton.cable_nm / 1e3:,.1f} um"


def _why(config: RunConfig, objects: Objects, ids: Sequence[int]) -> list[str]:
    """Of each object without a skeleton, why."""
    if not ids:
        return []
    volumes = um3_of(objects, ids)
    if volumes is None:
        return [f"{one}: no skeleton: it is dust, or no object of this volume" for one in ids]
    return [f"{one}: no skeleton: {_reason(config, volumes.get(one))}" for one in ids]


def _reason(config: RunConfig, um3: float | None) -> str:
    """``um3``: volume of the object; None: it is none."""
    if um3 is None:
        return "the volume has no such object"
    section = config.skeleton
    if section is not None and um3 > _SURE * section.dust_um3:
        return (
            f"it should have one, with {um3:.3g} um^3; magneton status --check says what is damaged"
        )
    return f"with {um3:.3g} um^3 it is dust, as counted at the mip of skeletons (skeleton.dust_um3)"
