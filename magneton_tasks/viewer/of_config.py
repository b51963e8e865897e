"""The layers of a volume config: its affinity map, its segmentation, and a truth beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from magneton_tasks.base.geometry import Box, Size3, Vec3
from magneton_tasks.base.location import locate, read_json
from magneton_tasks.config.model import RunConfig
from magneton_tasks.config.thresholds import is_text, uses_threshold
from magneton_tasks.config.types import THRESHOLD
from magneton_tasks.errors import MagnetonError, NoInputError
from magneton_tasks.formats.given import of_config
from magneton_tasks.formats.metadata import VolumeInfo, read_input, read_metadata
from magneton_tasks.outcome.report_facts import pool_report
from magneton_tasks.viewer.layers import Layer
from magneton_tasks.work.attempts import at_each

if TYPE_CHECKING:
    from magneton_tasks.work.attempt import Attempt

#: How many of the largest objects are selected; more would be one colourful noise.
SELECTED_OBJECTS = 50
#: In 3D they hide each other.
SOLID_OBJECTS = 10
#: A coarsest mip of more voxels isn't read as a whole, but its middle: 256 MB of uint64.
_COUNTED_VOX = 1 << 25
_MOST_MIPS = 32


@dataclass(frozen=True, slots=True)
class View:
    """What `serve.serve` takes; boxes are (z, y, x).

    Attributes
    ----------
    layers
        Affinity map, segmentation, truth: those of which there is something.
    notes
        Lines for the person about what there is not.
    position_vox
        The volume's centre, the middle of its voxel.
    voxel_size_nm, shape_vox
        Of the voxels that are counted.
    side_by_side
        Segmentations (of several thresholds) and truth in a panel each.
    thresholds
        Of the segmentations, where there are several.
    """

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]
    position_vox: tuple[float, float, float]
    voxel_size_nm: Size3
    shape_vox: Vec3
    side_by_side: bool
    thresholds: tuple[float, ...] = ()


def view_of(
    config: RunConfig, attempt: Attempt | None, truth: str | None = None, *, count: bool = True
) -> View:
    """What there is to see of a volume.

    Parameters
    ----------
    attempt
        The newest one, whose pool says which objects are the largest; None: the output is asked.
    truth
        URL of a segmentation to compare with.
    count
        Read voxels where pool doesn't say which objects are the largest.

    Raises
    ------
    NoInputError
        Neither the affinity map nor a segmentation is there.
    """
    layers: list[Layer] = []
    notes: list[str] = []
    frame: VolumeInfo | None = None
    segmentations = _segmentations(config)
    for name, url in {**segmentations, "affinity": config.paths.input}.items():
        try:
            info = read_metadata(url) if name in segmentations else read_input(config)
        except NoInputError as error:
            if name in segmentations:
                notes.append(f"no segmentation yet: {url} holds no info file; apply writes it")
            else:
                notes.append(f"left out: {name}: {error.what}")
            continue
        except MagnetonError as error:
            notes.append(f"left out: {name}: {error.what}")
            continue
        frame = frame or info
        if name in segmentations:
            # Beside a truth all objects are shown, as they are of the truth.
            of = attempt.each() if attempt else ()
            its = next((each for each in of if each.config.paths.output == url), None)
            its = attempt if len(segmentations) == 1 and its is None else its
            selected = largest_objects(url, its, count=count) if truth is None else ()
            named = named_in_info(url)
            solid = bool(selected) and not named.isdisjoint({"mesh", "skeletons"})
            layer = Layer(
                name,
                "segmentation",
                url,
                selected=selected[:SOLID_OBJECTS] if solid else selected,
                solid=solid,
                listed="segment_properties" in named,
            )
            layers.append(layer)
        else:
            layers.insert(0, affinity_layer(config))
    if frame is None:
        raise NoInputError(
            f"there is nothing to see: {'; '.join(notes)}",
            "check paths.input and paths.output, and whether they are mounted",
        )
    if truth is not None:
        layers.append(Layer("truth", "segmentation", truth))
    box = _box(config, frame)
    z, y, x = ((b + e) // 2 + 0.5 for b, e in zip(box.begin, box.end, strict=True))
    compare = sum(layer.kind == "segmentation" for layer in layers) > 1
    thresholds = tuple(float(name.split()[-1]) for name in segmentations if " " in name)
    return View(
        tuple(layers), tuple(notes), (z, y, x), frame.voxel_size_nm, box.shape, compare, thresholds
    )


def named_in_info(url: str) -> frozenset[str]:
    """Which of meshes, skeletons and the list of objects the ``info`` of a precomputed volume names."""
    try:
        info = read_json(locate(url), "info") or {}
    except MagnetonError:
        return frozenset()
    names = ("mesh", "skeletons", "segment_properties")
    return frozenset(name for name in names if isinstance(info.get(name), str))


def _segmentations(config: RunConfig) -> dict[str, str]:
    """Names and URLs of layers: one, or one for each threshold at which there is a result."""
    output = config.paths.output
    location = locate(output)
    if uses_threshold(config) and location.path is not None:
        found = filter(is_text, at_each(str(location.path), THRESHOLD))
        several = sorted(found, key=float)
        if several:
            return {f"segmentation {text}": output.replace(THRESHOLD, text) for text in several}
    return {"segmentation": output}


def affinity_layer(config: RunConfig) -> Layer:
    """The affinity map as the config reads it."""
    given = config.input
    if isinstance(given.channels, str):
        z, y, x = (given.channels.index(axis) for axis in "zyx")
        channels = (z, y, x)
    else:
        channels = given.channels
    return Layer(
        "affinity",
        "affinity",
        config.paths.input,
        given.mip,
        channels=channels,
        invert=given.invert,
        scale=given.scale,
        given=of_config(config),
    )


def _box(config: RunConfig, frame: VolumeInfo) -> Box:
    """What is segmented: the config's cut-out, or all."""
    if config.box is None:
        return frame.box
    wanted = Box(config.box.begin, config.box.end).intersection(frame.box)
    return frame.box if wanted.is_empty else wanted


def largest_objects(url: str, attempt: Attempt | None, *, count: bool = True) -> tuple[int, ...]:
    """Ids of the largest objects of an output, largest first: from pool's report, else from the voxels.

    Empty where nothing can be said: then all objects are shown.
    """
    reported = _reported(attempt) if attempt is not None else ()
    return reported or (_counted(url) if count else ())


def _reported(attempt: Attempt) -> tuple[int, ...]:
    report = pool_report(attempt) or {}
    return tuple(o["global_id"] for o in report.get("largest", ()))[:SELECTED_OBJECTS]


def _counted(url: str) -> tuple[int, ...]:
    """From the coarsest mip of a volume on file://; chunks that aren't there yet count as empty."""
    if locate(url).path is None:
        return ()
    import numpy as np

    from magneton_tasks.formats.volume import open_volume

    try:
        info = _coarsest(url)
        voxels = open_volume(url, info.mip, fill_missing=True).read(_middle(info.box))
    except MagnetonError:
        return ()  # e.g. a chunk that can't be decoded: the picture will show that
    ids, counts = np.unique(voxels, return_counts=True)
    ids, counts = ids[ids > 0], counts[ids > 0]
    order = np.argsort(counts, kind="stable")[::-1][:SELECTED_OBJECTS]
    return tuple(int(i) for i in ids[order])


def _coarsest(url: str) -> VolumeInfo:
    found = read_metadata(url, 0)
    for mip in range(1, _MOST_MIPS):
        try:
            found = read_metadata(url, mip)
        except MagnetonError:
            break
    return found


def _middle(box: Box) -> Box:
    """The middle of a box, halved along its longest axis until it has few enough voxels."""
    begin, end = list(box.begin), list(box.end)
    while (
        box := Box((begin[0], begin[1], begin[2]), (end[0], end[1], end[2]))
    ).voxels > _COUNTED_VOX:
        axis = box.shape.index(max(box.shape))
        quarter = box.shape[axis] // 4
        begin[axis] += quarter
        end[axis] -= quarter
    return box
