"""Where a dry run looks at a map, to tell about which threshold it will ask for, and what it finds.

A volume of up to `WHOLE_VOXELS` is looked at as a whole. Of a larger one boxes of 128^3 are, longer
along the other axes where one is thin, at places that the volume alone decides, never the blocks::

    tiles side by side, spread over the volume, in the order of a Kronecker lattice:
    . . 3 . . . 1 .
    . 5 . . 0 . . .        each is read as a volume of its own, with mask and conventions as
    2 . . . . . 4 .        segment reads; empty ones cost hardly more than their reading

until `ENOUGH_VOXELS` have a label, or `MOST_BOXES` were tried. The sums of all add up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magneton_tasks.base import units
from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.config.read import RunConfig
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.errors import OutOfMemoryError
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.plan import cost_exact
from magneton_tasks.stages.child import resident_bytes, run_in_child

if TYPE_CHECKING:
    from magneton_tasks.formats.affinity import AffinityReader
    from magneton_tasks.formats.mask import MaskReader
    from magneton_tasks.kernels.exact.map_threshold import MapThreshold, ThresholdSums

#: Largest volume that is looked at as a whole, in voxels; enough labelled ones of a larger one.
WHOLE_VOXELS = 32_000_000
ENOUGH_VOXELS = 16_000_000
#: Edge of a box, and how many are tried.
EDGE_VOX = 128
MOST_BOXES = 64

#: Fractional parts of multiples of these irrational numbers fill a cube evenly.
_STEPS = (0.8191725134, 0.6710436067, 0.5497004779)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found.

    Attributes
    ----------
    boxes
        So many of the `places` were looked at.
    cpu_s, peak_bytes
        What it took, of the process that did it.
    """

    found: MapThreshold
    boxes: int
    cpu_s: float
    peak_bytes: int


# ------------------------------------------------------------------ places
def places(box: Box, chunk_size: Vec3, origin: Vec3) -> list[Box]:
    """The boxes that may be looked at, in their order.

    Parameters
    ----------
    box
        What is segmented.
    chunk_size, origin
        Of the input: boxes begin on borders of chunks where these fit into them.
    """
    if box.voxels <= WHOLE_VOXELS:
        return [box]
    edges = _edges(box.shape)
    begins = [
        _begins(box.begin[a], box.end[a], edges[a], chunk_size[a], origin[a]) for a in range(3)
    ]
    tiles = dict.fromkeys(islice(_kronecker([len(b) for b in begins]), 100 * MOST_BOXES))
    if len(tiles) < MOST_BOXES:  # a small grid, of which the lattice hit each tile but a few
        tiles |= dict.fromkeys(product(*(range(len(b)) for b in begins)))
    return [
        Box.of_shape(edges, vec3(b[i] for b, i in zip(begins, tile, strict=True)))
        for tile in islice(tiles, MOST_BOXES)
    ]


def _edges(shape: Vec3) -> Vec3:
    """`EDGE_VOX` along each axis; what a thin one lacks, the others share."""
    left, edges = EDGE_VOX**3, [0, 0, 0]
    for n, axis in zip((3, 2, 1), sorted(range(3), key=lambda a: shape[a]), strict=True):
        edges[axis] = min(shape[axis], max(round(left ** (1 / n)), 1))
        left //= edges[axis]
    return vec3(edges)


def _begins(begin: int, end: int, edge: int, chunk: int, origin: int) -> list[int]:
    """Where tiles of an axis begin: spread evenly, on borders of chunks if these divide a tile."""
    first = begin + (origin - begin) % chunk
    if edge % chunk or first + edge > end:
        first, chunk = begin, 1
    n = (end - first) // edge
    room = (end - first - edge) // chunk
    return [first + chunk * (i * room // max(n - 1, 1) if n > 1 else room // 2) for i in range(n)]


def _kronecker(shape: list[int]) -> Iterator[tuple[int, ...]]:
    k = 0
    while True:
        yield tuple(int((0.5 + k * step) % 1.0 * n) for step, n in zip(_STEPS, shape, strict=True))
        k += 1


# ------------------------------------------------------------------ looking
def look(config: RunConfig, boxes: list[Box]) -> Looked:
    """Apply the rule to the samples; they are read and segmented in a child of this process.

    Raises
    ------
    OutOfMemoryError
        There isn't as much memory as that takes.
    MagnetonError
        The input can't be read, or its values are no affinities.
    """
    from magneton_tasks.kernels.exact.map_threshold import ThresholdSums, choose

    measure = _ready(config, boxes)
    folder = Path(tempfile.mkdtemp(prefix="magneton-"))
    bound = cost_exact.block_bound_bytes(max(b.voxels for b in boxes), None)
    # A menu, a notebook or a plotting command holds more than a worker does, and so does its child.
    bound += max(resident_bytes(os.getpid()) - cost_exact.WORKER_BASE_BYTES, 0)
    try:
        result = run_in_child(measure, folder / "log", bound)
    except OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"taking the threshold from the map needs up to {units.human_bytes(bound)}: {error.what}",
            "plan on a machine with more memory, or set segment.threshold, which needs no samples",
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sums = ThresholdSums.from_data(result.value["sums"])
    return Looked(choose(sums), result.value["boxes"], result.cpu_s, result.peak_bytes)


def _ready(config: RunConfig, boxes: list[Box]) -> Callable[[], Any]:
    """What measures, in a child; volumes are opened and compiled code is loaded before it forks."""
    import numpy as np

    from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
    from magneton_tasks.work.inputs import open_affinity, open_mask

    affinity = open_affinity(config)
    mask = open_mask(config, affinity.info)
    threshold_sums(np.full((3, 2, 2, 2), 128, np.uint8), ExactSettings(0.5))

    def measure() -> dict[str, Any]:
        sums, tried = measured(config, affinity, mask, boxes)
        return {"sums": sums.to_data(), "boxes": tried}

    return measure


def measured(
    config: RunConfig, affinity: AffinityReader, mask: MaskReader | None, boxes: list[Box]
) -> tuple[ThresholdSums, int]:
    """The sums of as many boxes as are needed, and how many that were."""
    from magneton_tasks.formats.exact_reader import ExactReader
    from magneton_tasks.kernels.exact.map_threshold import ThresholdSums
    from magneton_tasks.kernels.exact.threshold_sums import threshold_sums

    settings, sums = exact_settings(config, 0.5), ThresholdSums.nothing()
    for tried, box in enumerate(boxes, 1):
        try:
            values, _ = ExactReader(affinity, mask, box).read(box)
        except BadAffinityError as error:
            raise error.placed(box.begin, f"{config.paths.input}: ") from None
        sums = sums + threshold_sums(values, settings)
        if sums.voxels >= ENOUGH_VOXELS:
            return sums, tried
    return sums, len(boxes)
