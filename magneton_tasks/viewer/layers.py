"""The layers that a viewer shows, and where each one's files lie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magneton_tasks.base.location import locate
from magneton_tasks.base.units import several
from magneton_tasks.errors import ConfigError, MagnetonError, NoInputError
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.viewer import drawable

#: What Neuroglancer's client opens by itself, in the browser.
_BROWSER_SCHEMES = ("gs", "s3", "http", "https")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer as it's asked for.

    Attributes
    ----------
    name
        As the person sees it; two layers of a view have different names.
    kind
        ``affinity`` or ``segmentation``.
    url
        As in the config: ``file:///...``, a plain path, ``gs://...``, ``s3://...``.
    mip
        Whose voxels count where a volume can be shown at one mip only.
    selected
        Ids that are selected; none: all objects are shown.
    solid
        The volume has meshes or skeletons: what is selected is seen in 3D.
    listed
        The volume has our list of objects (`formats.precomputed.properties`).
    visible
        False: listed, and switched off.
    channels
        Affinities: numbers of the stored z, y and x channel.
    invert
        Affinities: the map holds boundaries.
    scale
        Affinities: stored value that stands for 1; None: the dtype's largest, 1 for floats.
    given
        Affinities: what the config says of axes, voxel size and offset.
    """

    name: str
    kind: Literal["affinity", "segmentation"]
    url: str
    mip: int = 0
    selected: tuple[int, ...] = ()
    solid: bool = False
    listed: bool = False
    visible: bool = True
    channels: tuple[int, int, int] = (0, 1, 2)
    invert: bool = False
    scale: float | None = None
    given: Given | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A layer that can be drawn.

    Attributes
    ----------
    layer
        As it was asked for.
    info
        Of the mip that coordinates count in: the finest, or the only one that is shown.
    root
        Directory whose files are served, as its real path; None where the browser itself opens
        ``remote``.
    remote
        URL outside this machine, without a format's prefix.
    inner
        Path of the array that is shown, below the volume; "" for the whole volume.
    joined
        One chunk holds all channels, so that one layer can show them as colours.
    axes
        Zarr: the axes' names in the file, as Neuroglancer has them.
    """

    layer: Layer
    info: VolumeInfo
    root: Path | None
    remote: str | None
    inner: str
    joined: bool
    axes: tuple[str, ...] = ()


def resolve(layers: Sequence[Layer]) -> tuple[list[Shown], list[str]]:
    """What can be drawn, and a line for each layer that can't.

    Raises
    ------
    NoInputError
        None of them can be drawn; with all the reasons.
    """
    shown: list[Shown] = []
    notes: list[str] = []
    for layer in layers:
        try:
            found = _resolve(layer)
        except MagnetonError as error:
            hint = f" ({error.hint})" if error.hint else ""
            notes.append(f"left out: {layer.name}: {error.what}{hint}")
            continue
        shown.append(found)
        if found.remote is not None:
            notes.append(
                f"{layer.name}: the browser reads {found.remote} itself: "
                "it needs internet, and a bucket that is public and allows other sites (CORS)"
            )
    if not shown:
        raise NoInputError(
            "nothing to show: " + "; ".join(n.removeprefix("left out: ") for n in notes),
            "check the URLs, or run the pipeline first",
        )
    return shown, notes


def _resolve(layer: Layer) -> Shown:
    location = locate(layer.url)
    remote = None
    if location.path is None:
        remote = location.url
        if remote.partition("://")[0] not in _BROWSER_SCHEMES:
            raise ConfigError(f"{remote}: Neuroglancer has no way to read this in a browser")
    info = read_metadata(layer.url, layer.mip, layer.given)
    as_its_own = layer.given in (
        None,
        Given(),
    )  # else it's shown as a plain array, with a transform
    inner, joined, axes = "", True, None
    if info.format in drawable.ZARR:
        axes = drawable.group_axes(location) if info.array and as_its_own else None
        if axes is not None:
            info = read_metadata(layer.url, 0)
        else:
            inner = info.array
        facts = drawable.array_facts(location, info)
        axes = axes or facts.axes
        joined = facts.channels == info.channels
    drawable.check(info, layer.kind)
    if info.format == "precomputed" and not as_its_own:
        raise ConfigError(
            f"{layer.url}: Neuroglancer would show it by its own info, and not by input.voxel_size_nm and input.voxel_offset",
            "write these into its info",
        )
    if layer.kind == "affinity" and max(layer.channels) >= info.channels:
        raise ConfigError(
            f"{layer.url} has {several(info.channels, 'channel')}, and channel {max(layer.channels)} is asked for"
        )
    root = None if location.path is None else Path(os.path.realpath(location.path))
    return Shown(layer, info, root, remote, inner, joined, tuple(axes or ()))
