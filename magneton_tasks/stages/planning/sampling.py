"""What plan samples from the input: statistics of the channels, and the density of fragments.

A few boxes are read and their watershed is run; the result is kept in the work directory, so that
the next plan of the same input and settings needn't import the heavy libraries.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magneton_tasks.base import files
from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.segment import USUAL_THRESHOLD
from magneton_tasks.config.settings import exact_settings, segment_settings
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.plan.cost_exact import SAMPLED_EDGE_VOX
from magneton_tasks.plan.fingerprints import decisive
from magneton_tasks.plan.memory import Density
from magneton_tasks.plan.plan import digest
from magneton_tasks.runners.warming import ensure_warm

if TYPE_CHECKING:
    from magneton_tasks.formats.affinity import AffinityReader

#: Edge of a sampled box, in voxels, and how many of them.
SAMPLE_EDGE_VOX = 80
SAMPLE_BOXES = 4
#: Where those hold one value: edge of further boxes, and how many of them.
FURTHER_EDGE_VOX = 32
FURTHER_BOXES = 60
#: Of what is counted: samples that were kept by another version of this code are taken anew.
SAMPLES_VERSION = 3


@dataclass(frozen=True, slots=True)
class Samples:
    """What the sampled boxes told.

    Attributes
    ----------
    key
        Digest of the input and the settings that decide the samples.
    channels
        Statistics of each channel (z, y, x), as `kernels.conventions.channel_statistics` makes them.
    warnings, doubts
        What looks wrong about the map as it is read: what may be so, and what can't be right
        (`kernels.doubts`).
    """

    key: str
    density: Density
    channels: list[dict[str, Any]]
    warnings: list[str]
    doubts: list[str]


def sample_boxes(box: Box) -> list[Box]:
    """Up to four boxes, spread over the volume: its centre, and points of a Kronecker lattice."""
    return _lattice(box, SAMPLE_EDGE_VOX, range(SAMPLE_BOXES))


def further_boxes(box: Box) -> list[Box]:
    """Small boxes at the lattice's next points."""
    return _lattice(box, FURTHER_EDGE_VOX, range(SAMPLE_BOXES, SAMPLE_BOXES + FURTHER_BOXES))


def _lattice(box: Box, edge: int, points: range) -> list[Box]:
    size = vec3(min(edge, s) for s in box.shape)
    room = [s - e for s, e in zip(box.shape, size, strict=True)]
    # Fractional parts of multiples of these irrational numbers fill a cube evenly.
    steps = (0.8191725134, 0.6710436067, 0.5497004779)
    found: list[Box] = []
    for k in points:
        offset: Vec3 = vec3(
            int(((0.5 + k * s) % 1.0) * r) for s, r in zip(steps, room, strict=True)
        )
        at = vec3(b + o for b, o in zip(box.begin, offset, strict=True))
        found.append(Box.of_shape(size, at))
    return list(dict.fromkeys(found))


def samples_key(config: RunConfig, box: Box, input_digest: str, grid: Grid) -> str:
    """Digest of what decides samples; parameters as `sample`."""
    is_exact = config.method == "exact"
    merges = ("threshold", "merge_function")  # samples are taken before regions merge
    settings = {k: v for k, v in decisive(config, "segment").items() if k not in merges}
    if is_exact:
        settings = decisive(config, "exact")
    content = {"version": config.input.version, "identity": config.input.identity}
    return digest(
        input_digest,
        [str(b) for b in sample_boxes(box)],
        decisive(config, "input") | content,
        decisive(config, "mask"),
        settings,
        [str(b) for b in grid.cuts] if is_exact else None,
        SAMPLES_VERSION,
    )


def sample(
    config: RunConfig,
    box: Box,
    input_digest: str,
    cache: Path | None,
    *,
    grid: Grid | None = None,
    write: bool = True,
) -> Samples:
    """Sample the input, or take what the last plan has sampled.

    Parameters
    ----------
    cache
        File to look for samples in, and to keep them in; None: neither.
    grid
        The blocks whose faces are sampled (exact); None: there is but one.
    write
        False: they aren't kept.

    Raises
    ------
    MagnetonError
        The input can't be read, or its channels don't fit the config.
    """
    grid = grid or Grid(
        ((box.begin[0], box.end[0]), (box.begin[1], box.end[1]), (box.begin[2], box.end[2]))
    )
    key = samples_key(config, box, input_digest, grid)
    if cache is not None:
        with suppress(FileNotFoundError, ValueError), files.open_read(cache) as file:
            kept = of_json(Samples, file.read())
            if kept.key == key:
                return kept
    if write:
        ensure_warm()  # or this process would compile what it needs, without a sign of life
    samples = _sample(config, box, grid, key)
    if cache is not None and write:
        files.write_atomic(cache, to_json(samples))
    return samples


def _sample(config: RunConfig, box: Box, grid: Grid, key: str) -> Samples:
    # Heavy: numpy, waterz and the volume stores.
    from magneton_tasks.stages.planning.statistics import examine
    from magneton_tasks.work.inputs import open_affinity, open_mask

    reader, boxes = open_affinity(config), sample_boxes(box)
    mask = open_mask(config, reader.info)
    if config.method == "exact":
        density = _exact_density(config, reader, boxes, grid)
    else:
        density = _density(config, reader, boxes)
    examined = examine(reader, boxes, further_boxes(box), mask)
    channels, found = [asdict(s) for s in examined.statistics], examined.found
    return Samples(key, density, channels, list(found.warnings), list(found.doubts))


def _density(config: RunConfig, reader: AffinityReader, boxes: list[Box]) -> Density:
    """Of waterz's region graph, before any regions merge: no threshold matters."""
    from magneton_tasks.kernels.overlap.density import graph_density

    densities = []
    for box in boxes:
        try:
            settings = segment_settings(config, USUAL_THRESHOLD)
            densities.append(graph_density(reader.read(box), settings))
        except BadAffinityError as error:
            raise error.placed(box.begin, f"{config.paths.input}: ") from None
    n = len(densities)
    return Density(
        sum(d.fragments_per_voxel for d in densities) / n,
        sum(d.edges_per_voxel for d in densities) / n,
        (max(d.fragments_per_voxel for d in densities), max(d.edges_per_voxel for d in densities)),
    )


def _exact_density(
    config: RunConfig, reader: AffinityReader, boxes: list[Box], grid: Grid
) -> Density:
    """Of the exact method's region graph, and of supervoxels, which no threshold changes."""
    from magneton_tasks.stages.planning.corners import corner, sample_counts

    corners = [corner(grid, box, k, SAMPLED_EDGE_VOX) for k, box in enumerate(boxes)]
    settings = exact_settings(config, 1.0)
    counts = []
    for found in corners:
        try:
            counts.append(sample_counts(reader, found, settings))
        except BadAffinityError as error:
            raise error.placed(found.core.begin, f"{config.paths.input}: ") from None
    n = len(counts)
    return Density(
        sum(c.regions_per_voxel for c in counts) / n,
        sum(c.edges_per_voxel for c in counts) / n,
        (max(c.regions_per_voxel for c in counts), max(c.edges_per_voxel for c in counts)),
        max(c.labels_per_voxel for c in counts),
    )
