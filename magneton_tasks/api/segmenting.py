"""Segment an array in memory by the exact method: one block, as `magneton run` would segment it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magneton_tasks.api.affinities import Convention, to_uint8
from magneton_tasks.api.compiling import compiled
from magneton_tasks.api.tree import MergeTree, check_threshold, cut
from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.kernels.exact.map_threshold import ThresholdSums
from magneton_tasks.kernels.exact.rounds.block import BlockSupervoxels, segment_supervoxels
from magneton_tasks.kernels.exact.whole_box import alone
from magneton_tasks.kernels.union_find import renumber

UInt32 = NDArray[np.uint32]


class Options(TypedDict, total=False):
    """Parameters of `segment`, for its two types."""

    mask: ArrayLike | None
    channels: str | Sequence[int]
    offset_sign: int
    invert: bool
    scale: float | None
    s2: int
    s_min: int
    t_low: int
    t_high: int
    t_size: int
    lowest_threshold: float


@overload
def segment(
    affinities: ArrayLike,
    threshold: float | None = None,
    *,
    return_tree: Literal[False] = False,
    **options: Unpack[Options],
) -> UInt32: ...


@overload
def segment(
    affinities: ArrayLike,
    threshold: float | None = None,
    *,
    return_tree: Literal[True],
    **options: Unpack[Options],
) -> tuple[UInt32, MergeTree]: ...


def segment(
    affinities: ArrayLike,
    threshold: float | None = None,
    *,
    mask: ArrayLike | None = None,
    channels: str | Sequence[int] = "zyx",
    offset_sign: int = -1,
    invert: bool = False,
    scale: float | None = None,
    s2: int = 200,
    s_min: int = 50,
    t_low: int = 1,
    t_high: int = 255,
    t_size: int = 1,
    lowest_threshold: float = 0.05,
    return_tree: bool = False,
) -> UInt32 | tuple[UInt32, MergeTree]:
    """Segment affinities in memory by the exact method.

    Gives what `magneton run` gives for a volume of these affinities, up to the ids; parameters are
    keys of its config. Deterministic. Takes one core, and lets other threads work meanwhile.

    Parameters
    ----------
    affinities
        uint8, uint16, float16, float32 or float64 (channels, z, y, x), with any strides; not
        changed. ``affinities[d, z, y, x]`` joins the voxel with the one before it along axis d, 1
        (255 of uint8, 65535 of uint16) where both belong to one object.
    threshold
        In [0, 1]: regions merge while their mean affinity is at least this, so less merges more.
        waterz's threshold is 1 minus this one. None: from the map itself, see docs/exact.md.
    mask
        (z, y, x): nonzero where voxels count; others are background. None: all count.
    channels
        Order of three channels, such as ``"xyz"``; or the numbers of the z, y and x channel.
    offset_sign
        1: ``affinities[d, v]`` joins voxel v with the one after it.
    invert
        The array holds boundaries: affinity = 1 - value.
    scale
        Value that means affinity 1; None: 255 of uint8, 65535 of uint16, 1 of floats.
    s2, s_min, t_low, t_high, t_size
        ``exact.s2`` and ``exact.advanced`` of the config: voxels below which regions and basins
        join their best neighbour, and affinities of 255 for background, certain edges and sizes.
    lowest_threshold
        What the tree is merged down to, for later cuts.
    return_tree
        Also return what `cut` cuts at other thresholds.

    Returns
    -------
    labels
        uint32 (z, y, x): objects 1, 2, ...; 0: background.
    tree
        `MergeTree`, if ``return_tree``.

    Raises
    ------
    ValueError
        Shapes, dtypes or settings don't fit, a value is NaN or outside [0, 1], or the array has
        more than 2^32 / 3 voxels, which `magneton.open` segments in blocks.

    Notes
    -----
    Takes about 13 bytes per voxel beside the array (measured on tissue, of any dtype), the labels' 4
    among them; with the tree 14. The first call in a process loads compiled code (a second); where there is none
    for this CPU it is compiled once and kept, which takes a minute and is told on stderr.
    """
    if threshold is not None:
        check_threshold(threshold)
    check_threshold(lowest_threshold, "lowest_threshold")
    given = to_uint8(affinities, mask, Convention(channels, offset_sign, invert, scale))
    low = _lowest(threshold, lowest_threshold, return_tree)
    settings = ExactSettings(low, s2, t_low, t_high, s_min, t_size)
    compiled()
    found = _segmented(given, settings)
    chosen = _of_map(found.curve.rule, low) if threshold is None else float(threshold)
    table = found.supervoxels
    tree = MergeTree(found.labels, found.sizes, table.up, table.score, low, chosen)
    if return_tree:
        return cut(tree, chosen), tree
    renumber(found.labels.reshape(-1), tree.objects(chosen))
    return found.labels


def _lowest(threshold: float | None, lowest: float, return_tree: bool) -> float:
    """What is merged down to: no further than somebody asks for."""
    if threshold is None:
        return float(lowest)
    return float(min(threshold, lowest) if return_tree else threshold)


def _segmented(affinity: NDArray[np.uint8], settings: ExactSettings) -> BlockSupervoxels:
    """As one block that nothing lies around; ``affinity`` is written to."""
    high, place = alone(vec3(affinity.shape[1:]))
    try:
        return segment_supervoxels(affinity, high, place, settings)
    except (BadDataError, ConfigError) as error:
        raise ValueError(str(error)) from None


def _of_map(sums: ThresholdSums, lowest: float) -> float:
    """The threshold that the map asks for; what is doubtful is warned of."""
    from magneton_tasks.stages.planning.thresholds import of_whole_map  # imports all of planning

    choice = of_whole_map(sums, lowest).choice()
    for warning in choice.warnings:
        warnings.warn(warning, stacklevel=3)
    return choice.number
