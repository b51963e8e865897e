"""Affinities in memory, whatever their convention, as the exact method takes them.

The words are those of the config's section ``input``, and so is the arithmetic
(`kernels.quantise`): an array here and a volume that holds it give the same uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.units import several
from magneton_tasks.kernels.bad_affinity import BadAffinityError
from magneton_tasks.kernels.quantise import SCALES, Scaling

UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Voxels that are converted at a time: what conversion holds is this small.
_AT_A_TIME = 1 << 22


@dataclass(frozen=True, slots=True)
class Convention:
    """What the values of an array mean; see `magneton_tasks.api.segmenting.segment`."""

    channels: str | Sequence[int] = "zyx"
    offset_sign: int = -1
    invert: bool = False
    scale: float | None = None


def to_uint8(affinities: ArrayLike, mask: ArrayLike | None, convention: Convention) -> UInt8:
    """uint8 (3, z, y, x), C order, a copy; 0 at edges that don't count.

    Raises
    ------
    ValueError
        Shape, dtype, convention or mask don't fit, or a value isn't in [0, 1].
    """
    array = np.asarray(affinities)
    if array.ndim != 4 or 0 in array.shape:
        raise ValueError(
            f"affinities: shape {array.shape} isn't (channels, z, y, x)\n"
            "  what to do: give an array of four axes, channels first; np.moveaxis(a, -1, 0) brings "
            "the last axis to the front"
        )
    numbers = _channel_numbers(convention.channels, array.shape[0])
    scaling, array = _scaling(array, convention)
    if convention.offset_sign not in (-1, 1):
        raise ValueError(f"offset_sign is {convention.offset_sign}\n  what to do: give -1 or 1")
    counts = None if mask is None else _mask(mask, vec3(array.shape[1:]))
    out = np.empty((3, *array.shape[1:]), np.uint8)
    for axis, channel in enumerate(numbers):
        _quantise(scaling, array[channel], out[axis], axis)
        if convention.offset_sign == 1:
            _shift(out[axis], axis)
        if counts is not None:
            _leave_out(out[axis], counts, axis)
    return out


def _channel_numbers(channels: str | Sequence[int], count: int) -> Vec3:
    """Numbers of the z, y and x channel."""
    if isinstance(channels, str):
        if sorted(channels) != ["x", "y", "z"] or count != 3:
            raise ValueError(
                f"affinities: {several(count, 'channel')}, and channels is {channels!r}\n"
                "  what to do: of three channels give their order, such as 'zyx' or 'xyz'; of others "
                "the numbers of the z, y and x channel, such as [2, 1, 0]"
            )
        return vec3(channels.index(axis) for axis in "zyx")
    numbers = tuple(int(c) for c in channels)
    if len(numbers) != 3 or len({*numbers}) != 3 or not all(0 <= c < count for c in numbers):
        raise ValueError(
            f"affinities: {several(count, 'channel')}, and channels is {list(channels)}\n"
            f"  what to do: give three different numbers from 0 to {count - 1}, of z, y and x"
        )
    return vec3(numbers)


def _scaling(array: NDArray[Any], convention: Convention) -> tuple[Scaling, NDArray[Any]]:
    """What the values mean; float64 counts as float32."""
    dtype = "float32" if array.dtype == np.float64 else array.dtype.name
    if dtype not in SCALES:
        raise ValueError(
            f"affinities: dtype {array.dtype}\n"
            f"  what to do: give one of {', '.join(SCALES)}, float64"
        )
    scale = SCALES[dtype] if convention.scale is None else float(convention.scale)
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(
            f"scale is {convention.scale}\n"
            "  what to do: give the value that means affinity 1, a positive number, or None"
        )
    return Scaling(dtype, scale, convention.invert), array


def _mask(mask: ArrayLike, shape: Vec3) -> Mask:
    counts = np.asarray(mask)
    if counts.shape != shape:
        raise ValueError(
            f"mask: shape {counts.shape}, and the affinities have {shape} (z, y, x)\n"
            "  what to do: give one value per voxel: nonzero where it counts"
        )
    return np.asarray(counts != 0)


def _quantise(scaling: Scaling, stored: NDArray[Any], out: UInt8, axis: int) -> None:
    """One channel, some planes at a time."""
    step = max(_AT_A_TIME // max(stored[0].size, 1), 1)
    for begin in range(0, len(stored), step):
        try:
            scaling.quantise(stored[begin : begin + step], out[begin : begin + step], axis)
        except BadAffinityError as error:
            z, y, x = error.voxel
            raise ValueError(
                f"affinities: {error.value:.9g} at voxel {(z + begin, y, x)} (z, y, x) of the {'zyx'[axis]} "
                "channel isn't in [0, 1]\n"
                "  what to do: give scale, the value that means affinity 1; write 0 where data is "
                "missing (NaN)"
            ) from None


def _shift(channel: UInt8, axis: int) -> None:
    """From edges to the voxel after to edges to the voxel before, in place."""
    forward = np.moveaxis(channel, axis, 0)
    for at in range(len(forward) - 1, 0, -1):  # plane by plane: nothing overlaps
        forward[at] = forward[at - 1]
    forward[0] = 0


def _leave_out(channel: UInt8, counts: Mask, axis: int) -> None:
    """Edges of voxels that don't count become 0, in place."""
    channel *= counts
    np.moveaxis(channel, axis, 0)[1:] *= np.moveaxis(counts, axis, 0)[:-1]
