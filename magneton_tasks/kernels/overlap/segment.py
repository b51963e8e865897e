"""One block: affinities in, dense labels out, by waterz.

Supervoxels come from waterz's own watershed or from seeds (``kernels.overlap.supervoxels``); regions merge
while their score, an affinity, is at least the threshold. waterz (0.10.1) is a C++ library with
sharp edges; this module is the one place that knows them:

- it takes 1 - affinity as threshold, float32 and C order only, and doesn't look at the values;
- it prints to standard output from C++ and from Python;
- it yields the same array for every threshold and writes into the fragments it is given;
- it ends the process on a failed allocation or on fragment ids that aren't dense.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.methods import SegmentSettings, Supervoxels
from magneton_tasks.base.scoring import Scoring, parse_scoring
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.supervoxels import seeded_fragments

#: To be bumped when the labels of an unchanged input change (tests hold golden results).
KERNEL_VERSION = versions.SEGMENT

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Values that one look at the affinities takes together, so that the compiler can vectorise it.
_SCAN = 4096
#: Values whose range is looked at together: they stay in the cache.
_RANGE_SCAN = 1 << 16


class Labels(NamedTuple):
    """Labels of a block: uint32 (z, y, x), 1..count in raster order of their first voxels."""

    labels: NDArray[np.uint32]
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs


def segment_block(affinity: Float32, settings: SegmentSettings, mask: Mask | None = None) -> Labels:
    """Segment one block.

    Parameters
    ----------
    affinity
        float32 (3, z, y, x) in [0, 1]; ``affinity[d][v]`` joins v and v - e_d. **With a mask, it
        is written to**: edges at masked voxels become 0 (a copy would cost 12 B a voxel).
    settings
        See `SegmentSettings`.
    mask
        bool (z, y, x); False is background. None: all voxels count.

    Raises
    ------
    BadDataError
        Wrong shape or type, or a value that is NaN or outside [0, 1]; it names the first such
        voxel, counted from the block's own corner.
    """
    steps = segmentations(affinity, settings, [settings.threshold], mask)
    segments = next(steps)
    next(steps, None)  # the generator's end frees the graph
    if segments is None:
        return Labels(np.zeros(affinity.shape[1:], np.uint32), 0)
    return dense_labels(segments)


def segmentations(
    affinity: Float32,
    settings: SegmentSettings,
    thresholds: Sequence[float],
    mask: Mask | None = None,
) -> Iterator[NDArray[np.uint64] | None]:
    """Ids as waterz has them at each threshold, by one agglomeration; for `segment_block` and sweeps.

    Parameters
    ----------
    affinity, settings, mask
        As `segment_block`; ``settings.threshold`` isn't read.
    thresholds
        Affinities in [0, 1], from the highest to the lowest.

    Yields
    ------
    uint64 (z, y, x), 0 for background: **the same array each time**. waterz reads it again for the
    next threshold and replaces each id in it by that of what it was merged into; ids that have
    occurred may stand anywhere in it. None where the block has no foreground.

    Raises
    ------
    BadDataError
        As `segment_block`.
    """
    scoring = parse_scoring(settings.merge_function)
    affinity, fragments = fragments_of(affinity, settings, mask)
    if fragments is None and not has_foreground(affinity, settings):
        for _ in thresholds:
            yield None
        return
    yield from agglomerate(affinity, fragments, settings, scoring, [1.0 - t for t in thresholds])


def warm_up(supervoxels: Supervoxels = "waterz") -> None:
    """Load the compiled code: 0.8 CPU s that a forked child needn't pay again for each block."""
    affinity = np.full((3, 2, 2, 2), 0.5, np.float32)
    settings = SegmentSettings(0.5, "mean", supervoxels, interior_threshold=0.0)
    labels, count = segment_block(affinity, settings, np.ones(affinity.shape[1:], np.bool_))
    label_sizes(labels, (slice(0, 1), slice(0, 1), slice(0, 1)), count)


def fragments_of(
    affinity: Float32, settings: SegmentSettings, mask: Mask | None
) -> tuple[Float32, NDArray[np.uint64] | None]:
    """The checked affinities, and fragments unless waterz is to make them."""
    if affinity.ndim != 4 or affinity.shape[0] != 3 or 0 in affinity.shape:
        raise BadDataError(f"affinities must have the shape (3, z, y, x), not {affinity.shape}")
    if affinity.dtype != np.float32:
        raise BadDataError(f"affinities must be float32, not {affinity.dtype}")
    affinity = np.ascontiguousarray(affinity)
    _check_range(affinity)
    if mask is not None:
        if mask.shape != affinity.shape[1:] or mask.dtype != np.bool_:
            raise BadDataError(
                f"the mask must be bool of shape {affinity.shape[1:]}, not {mask.dtype} {mask.shape}"
            )
        _cut_masked_edges(affinity, mask)
    if settings.supervoxels == "waterz" or not has_foreground(affinity, settings):
        return affinity, None
    fragments = seeded_fragments(
        affinity,
        per_section=settings.supervoxels == "2d",
        low=settings.aff_thresholds[0],
        interior_threshold=settings.interior_threshold,
        min_distance=settings.min_distance,
    )
    return affinity, fragments


def _check_range(affinity: Float32) -> None:
    """Raise where a value isn't in [0, 1]."""
    flat = affinity.reshape(-1)
    parts = (flat[i : i + _RANGE_SCAN] for i in range(0, flat.size, _RANGE_SCAN))
    # NaN fails the comparison; numpy's min and max take a third of the loop that looks for where
    if all(part.min() >= 0 and part.max() <= 1 for part in parts):
        return
    at = _first_bad(flat)
    if at >= 0:
        channel, z, y, x = (int(i) for i in np.unravel_index(at, affinity.shape))
        value = float(affinity[channel, z, y, x])
        raise BadAffinityError(value, channel, (z, y, x))


def has_foreground(affinity: Float32, settings: SegmentSettings) -> bool:
    """Whether any affinity is above the low threshold."""
    return bool(_any_above(affinity.reshape(-1), np.float32(settings.aff_thresholds[0])))


def agglomerate(
    affinity: Float32,
    fragments: NDArray[np.uint64] | None,
    settings: SegmentSettings,
    scoring: Scoring,
    thresholds: list[float],
) -> Iterator[NDArray[np.uint64]]:
    """Run waterz with its own thresholds (1 - affinity), ascending; see `segmentations`."""
    import waterz  # the exact method does without

    low, high = settings.aff_thresholds
    steps = waterz.agglomerate(
        affinity,
        thresholds,
        fragments=fragments,
        aff_threshold_low=low,
        aff_threshold_high=high,
        scoring_function=scoring.function,
        discretize_queue=scoring.queue_bins,
    )
    for _ in thresholds:
        with _silent():  # not while the caller works with what it got
            segments = next(steps)
        yield np.asarray(segments)
    with _silent():
        next(steps, None)  # the generator's end frees the graph


@contextmanager
def _silent() -> Iterator[None]:
    """Send standard output to nowhere, Python's and C's; for the whole process meanwhile."""
    libc = ctypes.CDLL(None)
    sys.stdout.flush()
    libc.fflush(None)
    kept = os.dup(1)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            with redirect_stdout(nowhere):
                yield
    finally:
        libc.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def dense_labels(segments: NDArray[np.uint64], *, keep: bool = False) -> Labels:
    """Number the segments 1..n in raster order, in the memory of ``segments`` unless ``keep``."""
    flat = segments.reshape(-1)
    # never more fragments than voxels; untouched pages of it cost nothing
    numbers = np.zeros(flat.size + 1, np.uint32)
    narrow = np.empty(flat.size, np.uint32) if keep else flat.view(np.uint32)[: flat.size]
    count = _renumber(flat, narrow, numbers)
    return Labels(narrow.reshape(segments.shape), int(count))


@njit(nogil=True)
def _first_bad(values: Float32) -> int:
    """Index of the first value outside [0, 1] or NaN, -1 without any."""
    for start in range(0, values.size, _SCAN):
        part = values[start : start + _SCAN]
        bad = False
        for v in part:
            bad |= not (v >= np.float32(0.0)) or not (v <= np.float32(1.0))
        if bad:
            for i in range(part.size):
                if not (part[i] >= np.float32(0.0) and part[i] <= np.float32(1.0)):
                    return int(start + i)
    return -1


@njit(nogil=True)
def _any_above(values: Float32, low: np.float32) -> bool:
    """Whether a value is above ``low``."""
    for start in range(0, values.size, _SCAN):
        part = values[start : start + _SCAN]
        above = False
        for v in part:
            above |= v > low
        if above:
            return True
    return False


@njit(nogil=True)
def _cut_masked_edges(affinity: Float32, mask: Mask) -> None:
    """Set all edges of masked voxels to 0, in place."""
    _, nz, ny, nx = affinity.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if not mask[z, y, x]:
                    for d in range(3):
                        affinity[d, z, y, x] = 0
                    if z + 1 < nz:
                        affinity[0, z + 1, y, x] = 0
                    if y + 1 < ny:
                        affinity[1, z, y + 1, x] = 0
                    if x + 1 < nx:
                        affinity[2, z, y, x + 1] = 0


@njit(nogil=True)
def _renumber(ids: NDArray[np.uint64], out: NDArray[np.uint32], numbers: NDArray[np.uint32]) -> int:
    """Dense numbers by first occurrence; ``out`` may be the lower half of ``ids``' memory.

    Voxel i is read from bytes 8i..8i+7 before bytes 4i..4i+3 are written, so nothing is
    overwritten unread.
    """
    count = 0
    for i in range(ids.size):
        segment = ids[i]
        if segment == 0:
            out[i] = 0
            continue
        number = numbers[segment]
        if number == 0:
            count += 1
            number = np.uint32(count)
            numbers[segment] = number
        out[i] = number
    return count
