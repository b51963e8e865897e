"""Affinity maps, read in Magneton's convention.

Whatever is stored, `AffinityReader.read` gives float32 (3, z, y, x) in [0, 1], channels z, y, x,
``affs[d][v]`` joining ``v`` and ``v - e_d``, 1 where both belong to one object::

    stored, offset_sign -1            stored, offset_sign +1
    affs[x][v]: v-1 <-> v             affs[x][v]: v <-> v+1        ours[x][v] = stored[x][v - 1]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.base.units import several
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.info import Given, VolumeInfo
from magneton_tasks.formats.volume import Volume, open_volume
from magneton_tasks.kernels.quantise import SCALES, Affinities, Scaling

Array = npt.NDArray[Any]
UInt8 = npt.NDArray[np.uint8]
Out = TypeVar("Out", Affinities, UInt8)


class AffinityReader:
    """An affinity map of any stored convention.

    Parameters
    ----------
    url, mip, given
        As `volume.open_volume`.
    channels
        Order of the stored channels as a permutation of ``zyx``, for a map of three channels; or
        the numbers of the z, y and x channel, for any map.
    offset_sign
        -1: the stored ``affs[d][v]`` joins ``v`` and ``v - e_d``; +1: ``v`` and ``v + e_d``.
    invert
        The map holds boundaries: affinity = 1 - stored.
    scale
        Stored value that means affinity 1; None: 255 for uint8, 65535 for uint16, 1 for floats.

    Raises
    ------
    ConfigError
        Channels or dtype don't fit the volume.
    NoInputError, BadDataError, TemporaryError
        As `volume.open_volume`.
    """

    def __init__(
        self,
        url: str,
        mip: int = 0,
        channels: str | Sequence[int] = "zyx",
        offset_sign: int = -1,
        invert: bool = False,
        scale: float | None = None,
        given: Given | None = None,
    ) -> None:
        self._volume: Volume = open_volume(url, mip, given)
        self.info: VolumeInfo = self._volume.info
        self.channels = _channel_numbers(self.info, channels)
        if self.info.dtype not in SCALES:
            raise ConfigError(
                f"{url} is {self.info.dtype}, which isn't an affinity map's dtype",
                f"an affinity map is one of {', '.join(SCALES)}",
            )
        if offset_sign not in (-1, 1):
            raise ConfigError(f"input.offset_sign is {offset_sign}", "use -1 or 1")
        if scale is not None and not (np.isfinite(scale) and scale > 0):
            raise ConfigError(f"input.scale is {scale}", "give a positive number, or null")
        self.offset_sign = offset_sign
        usual = SCALES[self.info.dtype]
        self.scaling = Scaling(self.info.dtype, usual if scale is None else float(scale), invert)

    def read(self, box: Box) -> Affinities:
        """Affinities of a box: float32 (3, z, y, x), C order.

        At the peak, holds the stored channels (uint8: 3 bytes per voxel or more), the result (12)
        and one decoded chunk. Values are neither clipped nor checked.

        Index 0 along d joins to the voxel before the box. With ``offset_sign`` +1 it is read from
        the plane before, and is 0 at the volume's begin, where there's none.

        Raises
        ------
        ConfigError
            The box reaches outside the volume.
        NoInputError, BadDataError, TemporaryError
            As `volumes.Volume.read`.
        """
        return self._read(box, np.empty((3, *box.shape), dtype=np.float32), self._convert)

    def read_uint8(self, box: Box) -> UInt8:
        """As `read`, with 255 for affinity 1: rint(255 a), what the exact method computes with.

        Stored uint8 of scale 255 stays as it is. At the peak, holds what is stored, the result
        (3 bytes per voxel) and one decoded chunk; of other dtypes also one channel as float32.

        Raises
        ------
        BadAffinityError
            A value is NaN or outside [0, 1]; its voxel counts from the box's corner.
        ConfigError, NoInputError, BadDataError, TemporaryError
            As `read`.
        """
        if self.offset_sign == -1:
            return self.read_uint8_as_stored(box)
        return self._read(box, np.empty((3, *box.shape), dtype=np.uint8), self.scaling.quantise)

    def read_uint8_as_stored(self, box: Box) -> UInt8:
        """As `read_uint8`, but of exactly the stored voxels of the box.

        ``affs[d][v]`` joins ``v`` and ``v + offset_sign * e_d``.
        """
        stored = self._volume.read(box)
        if self.scaling.is_as_is and self.channels == (0, 1, 2):
            as_is: UInt8 = stored[:3]
            return as_is
        out = np.empty((3, *box.shape), dtype=np.uint8)
        for axis, channel in enumerate(self.channels):
            self.scaling.quantise(stored[channel], out[axis], axis)
        return out

    def read_plane(self, box: Box, axis: int) -> UInt8:
        """One channel of `read_uint8`, (z, y, x); reads no voxel that it doesn't need.

        The box lies behind the volume's begin along ``axis``.
        """
        if self.offset_sign == 1:
            box = box.translate(vec3(-int(d == axis) for d in range(3)))
        channel = self.channels[axis]
        stored = self._volume.read(box, slice(channel, channel + 1))[0]
        out = np.empty(box.shape, dtype=np.uint8)
        self.scaling.quantise(stored, out, axis)
        return out

    @property
    def decoded_bytes(self) -> int:
        """Bytes, as stored, of all chunks decoded so far."""
        return self._volume.decoded_bytes

    def _read(self, box: Box, out: Out, convert: Callable[[Any, Any, int], None]) -> Out:
        """Fill ``out`` (3, z, y, x), channel by channel, whatever the stored convention."""
        if self.offset_sign == -1:
            stored = self._volume.read(box)
            for axis, channel in enumerate(self.channels):
                convert(stored[channel], out[axis], axis)
            return out
        low = vec3(int(b > vb) for b, vb in zip(box.begin, self.info.box.begin, strict=True))
        grown = box.grow(low, (0, 0, 0))
        self._check_inside(box)
        stored = self._volume.read(grown)
        for axis, channel in enumerate(self.channels):
            convert(_shifted(stored[channel], box.shape, axis, low), out[axis], axis)
            if not low[axis]:
                out[axis][_first(axis)] = 0
        return out

    def _check_inside(self, box: Box) -> None:
        if not self.info.box.contains(box):
            self._volume.read(box)  # raises, with the message for this box

    def _convert(self, stored: Any, out: Affinities, _: int) -> None:
        self.scaling.convert(stored, out)


def _shifted(stored: Array, shape: Vec3, axis: int, low: Vec3) -> Array:
    """``stored[v - e_axis]`` of a box; ``stored`` has one plane more before it where ``low`` is 1."""
    begin = list(low)
    begin[axis] = 0
    found = stored[tuple(slice(b, b + n) for b, n in zip(begin, shape, strict=True))]
    if low[axis]:
        return found
    before = [(int(d == axis), 0) for d in range(3)]
    return np.pad(found, before)[Box.of_shape(shape).slices()]  # nothing lies before the volume


def _first(axis: int) -> tuple[slice, ...]:
    """The first plane along an axis."""
    return tuple(slice(0, 1) if d == axis else slice(None) for d in range(3))


def _channel_numbers(info: VolumeInfo, channels: str | Sequence[int]) -> Vec3:
    """Numbers of the stored z, y and x channel."""
    if isinstance(channels, str):
        if sorted(channels) != ["x", "y", "z"]:
            raise ConfigError(
                f"input.channels is {channels!r}", "give an order such as zyx or xyz, or 3 numbers"
            )
        if info.channels != 3:
            raise ConfigError(
                f"{info.url} has {several(info.channels, 'channel')}, and input.channels is {channels!r}",
                "an affinity map has three; if there are more, name them: input.channels: [z, y, x] as numbers"
                if info.channels > 3
                else "an affinity map has three channels: is this the right volume?",
            )
        return vec3(channels.index(axis) for axis in "zyx")
    numbers = tuple(int(c) for c in channels)
    if (
        len(numbers) != 3
        or len(set(numbers)) != 3
        or not all(0 <= c < info.channels for c in numbers)
    ):
        raise ConfigError(
            f"input.channels is {list(channels)}, and {info.url} has {several(info.channels, 'channel')}",
            f"give three different numbers from 0 to {info.channels - 1}",
        )
    return vec3(numbers)
