"""What plan checks before any work starts: stages, input, paths, disk, the output's owner.

Also what makes an output the same volume (`identity`), and forgetting the records of chunks that are
about to be written over (`forget_output`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from magneton_tasks.base import files, units
from magneton_tasks.base.buckets import open_bucket
from magneton_tasks.base.failures import FREE_SPACE
from magneton_tasks.base.lease import LEASE_NAME
from magneton_tasks.base.location import Location, locate, read_file
from magneton_tasks.base.nesting import are_nested
from magneton_tasks.config.read import RunConfig, nearest
from magneton_tasks.config.thresholds import is_open
from magneton_tasks.errors import BadDataError, ConfigError, OutputError, UsageError
from magneton_tasks.formats.given import likely_axes
from magneton_tasks.formats.listed import LIST_FILE
from magneton_tasks.formats.metadata import VolumeInfo, check_free, read_metadata
from magneton_tasks.formats.precomputed.owner import read_owner
from magneton_tasks.plan.geometry import Geometry
from magneton_tasks.plan.plan import Plan, digest
from magneton_tasks.plan.stage_table import CHOICES, WRITING
from magneton_tasks.work.manifest import Manifest
from magneton_tasks.work.paths import WorkPaths

_AFFINITY_DTYPES = ("uint8", "uint16", "float16", "float32")


def check_stages(stages: tuple[str, ...]) -> None:
    """Refuse stages that can't be chosen, and no stage at all."""
    for stage in stages:
        if stage not in CHOICES:
            raise UsageError(
                f"unknown stage {stage}{nearest(stage, CHOICES)}",
                "choose from segment, pool, apply; plan and verify always run; pool includes all that lies between segment and apply",
            )
    if not stages:
        raise UsageError("no stage was chosen", "choose from segment, pool, apply")


def check_input(config: RunConfig, info: VolumeInfo) -> VolumeInfo:
    """Refuse a volume that isn't an affinity map, or that a process writes to; returns it with notes."""
    if info.dtype not in _AFFINITY_DTYPES:
        raise ConfigError(
            f"{info.url} holds {info.dtype}; an affinity map is one of {', '.join(_AFFINITY_DTYPES)}",
            "give the affinity map as paths.input; is this a segmentation or an image?",
        )
    if likely_axes(info) != info.axes:
        raise ConfigError(
            f"{info.url} names no axes, and read as {info.axes} it has {units.several(info.channels, 'channel')} of {' x '.join(map(str, info.box.shape))} voxels",
            f"set input.axes: {likely_axes(info)} if the channels come last, or input.axes: {info.axes} if this is right",
        )
    wanted = config.input.channels
    needed = 3 if isinstance(wanted, str) else max(wanted) + 1
    if info.channels < needed or (isinstance(wanted, str) and info.channels != 3):
        raise ConfigError(
            f"{info.url} has {units.several(info.channels, 'channel')}; input.channels: {wanted} needs {needed if not isinstance(wanted, str) else 'exactly 3'}",
            "name the numbers of the z, y and x channel, such as input.channels: [0, 1, 2]",
        )
    return replace(info, notes=(*info.notes, *check_free(info)))


def input_digest(config: RunConfig, info: VolumeInfo) -> str:
    """Digest of what is segmented: the affinity map's metadata, its version, and the mask's."""
    return digest(info.digest, config.input.version, mask_digest(config))


def mask_digest(config: RunConfig) -> str | None:
    """Digest of the mask's metadata; None: there is no mask."""
    if config.mask.path is None:
        return None
    info = read_metadata(config.mask.path, config.mask.mip)
    check_free(info)
    return info.digest


def check_paths(config: RunConfig, write: bool) -> None:
    """Refuse nested paths, and an output that can't be written.

    Work lies beside output and input, output beside input and mask. With ``write``, a file is
    written to work and to output, and removed.
    """
    work, output = locate(config.paths.work), locate(config.paths.output)
    source = locate(config.paths.input)
    for name, other in (("output", output), ("input", source)):
        if are_nested(work, other):
            raise ConfigError(
                f"paths.work ({work.path}) and paths.{name} ({other.path}) must not contain one another",
                "give them directories side by side: work holds temporary files that clean removes",
            )
    read = [("paths.input", source)]
    if config.mask.path is not None:
        read.append(("mask.path", locate(config.mask.path)))
    for name, other in read:
        if are_nested(output, other):
            raise ConfigError(
                f"paths.output ({_name(output)}) and {name} ({_name(other)}) must not contain one another",
                "write the segmentation elsewhere",
            )
    if output.is_read_only:
        raise ConfigError(
            f"paths.output ({output.url}) can't be written: http and https are read-only",
            "give file:///path, a plain path, gs:// or s3://",
        )
    if write:
        for place in (work,) if is_open(config) else (work, output):
            if place.path is None:
                _check_bucket(place.url)
            else:
                _check_writable(place.path)


def _name(location: Location) -> str:
    return location.url if location.path is None else str(location.path)


def _check_bucket(url: str) -> None:
    """Really write there, and remove it again: rights show only so."""
    bucket, probe = open_bucket(url), f".magneton-probe-{files.unique_suffix()}"
    bucket.create(probe, b"probe")
    found = bucket.read(probe)
    if found is not None:
        bucket.delete(probe, found.version)


def _check_writable(path: Path) -> None:
    """Really write there: permissions, quotas and read-only mounts show only so."""
    probe = path / f".magneton-probe-{files.unique_suffix()}"
    try:
        files.write_atomic(probe, b"probe")
    except OutputError as error:
        raise OutputError(f"{path} can't be written: {error.what}", error.hint) from None
    probe.unlink(missing_ok=True)


def check_disk(config: RunConfig, plan: Plan) -> None:
    """Refuse to start where the disk is too small for what is projected."""
    needs: dict[int, tuple[int, list[str]]] = {}
    output = locate(config.paths.output).path
    wanted = [("work", Path(config.paths.work), plan.label_bytes)]
    if output is not None and plan.work["apply"].batches:
        wanted.append(("output", output, plan.output_bytes))
    for name, path, need in wanted:
        there = files.nearest_existing(path)
        device = there.stat().st_dev
        total, names = needs.get(device, (0, []))
        needs[device] = (total + need, [*names, f"paths.{name} ({path})"])
        free = files.free_bytes(there)
        if needs[device][0] > free:
            raise OutputError(
                f"the disk of {' and '.join(needs[device][1])} has {units.human_bytes(free)} free; about {units.human_bytes(needs[device][0])} are needed",
                f"{FREE_SPACE}, or put work and output elsewhere",
            )


# ------------------------------------------------------------------ the output's owner
def identity(config: RunConfig, geometry: Geometry) -> str:
    """What makes an output *the same volume*: the digest of its input, the input's mip and the box."""
    return digest(config.paths.input, config.input.mip, str(geometry.box))


def check_owner(config: RunConfig, geometry: Geometry, fingerprint: str, overwrite: bool) -> bool:
    """Refuse an output of another volume; returns whether records of apply don't tell what it holds.

    ``fingerprint``: of apply. Its records outlive what they tell of: runs of another one write over it.
    """
    if overwrite:
        _check_no_input(config)
    owner = owner_of(config.paths.output, overwrite)
    if owner is None:
        location = locate(config.paths.output)
        if not overwrite and has_layer(location):
            raise ConfigError(
                f"paths.output ({_name(location)}) holds a layer that Magneton didn't write",
                "choose another paths.output, or replace it with --overwrite-output",
            )
        return True
    if owner.get("volume") != identity(config, geometry):
        if not overwrite:
            raise ConfigError(
                f"paths.output ({config.paths.output}) belongs to another volume or config: {owner.get('config_path')} of {owner.get('input')}",
                "choose another paths.output, or replace it with --overwrite-output",
            )
        return True
    # overlap, and releases before: a result has records of its own
    return bool(owner.get("written", owner.get("fingerprint")) != fingerprint)


def owner_of(url: str, overwrite: bool) -> dict[str, Any] | None:
    """The output's ``magneton.json``; None: there is none, or (``overwrite``) it can't be read."""
    try:
        return read_owner(url)
    except BadDataError as error:
        if overwrite:
            return None
        raise BadDataError(
            f"it is unknown whose paths.output is: {error.what}",
            "choose another paths.output, or replace it with --overwrite-output",
        ) from error


def _check_no_input(config: RunConfig) -> None:
    """Refuse to replace the input, which may be reached under several addresses of a bucket."""
    source, output = locate(config.paths.input), locate(config.paths.output)
    if source.path is not None and output.path is not None:
        return  # `check_paths` follows links
    info = read_file(output, "info")
    if info is not None and info == read_file(source, "info"):
        raise ConfigError(
            f"paths.output ({_name(output)}) holds the same info file as paths.input ({_name(source)}): it seems to be the input under another address",
            "choose another paths.output; if it is a copy of the input, remove it yourself",
        )


def has_layer(location: Location) -> bool:
    """Whether anything lies there but a run's lease, and the list of files that are gone."""
    from magneton_tasks.formats.objects import Objects

    names = Objects(location).names()
    return any(name not in (LEASE_NAME, LIST_FILE) and not name.startswith(".") for name in names)


def forget_output(config: RunConfig, plan: Plan) -> None:
    """The output is new, gone or written over: what the records say was written isn't there."""
    work = WorkPaths(Path(config.paths.work))
    for stage in WRITING:
        manifest = Manifest(work.records(stage, plan.fingerprints.of(stage)))
        states = {k: s for k, s in manifest.read().items() if s.is_valid}
        with manifest.writer("plan", stage, -1) as writer:
            for key, state in states.items():
                writer.add(
                    key,
                    "invalid",
                    after=state,
                    info={"cause": "the output was new, or held another result"},
                )
