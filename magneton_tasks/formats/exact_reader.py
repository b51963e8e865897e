"""The affinities of the exact method's blocks: cores, and the planes beyond their high faces.

::

                  core of the block                  needs, of channel x,
        | o-o-o-o-o-o-o-o-o-o-o-o-o-o-o-o-o |- o     the plane beyond its high x face:
                                                     the low plane of the next core

Reading that plane decodes a layer of whole chunks. So the low planes of the cores that were read
(one channel, one voxel thick) are kept until the block before has used them; blocks are best read
from the last to the first. Of a map whose ``offset_sign`` is +1 a core's chunks hold the plane
beyond, and what they lack is the core's own low plane: then the first block comes first
(`ExactReader.in_order`). Either way each chunk of neighbouring blocks is decoded once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.formats.affinity import AffinityReader
from magneton_tasks.formats.mask import MaskReader
from magneton_tasks.kernels.bad_affinity import BadAffinityError

UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Plane = TypeVar("Plane", UInt8, Mask)
Planes = tuple[UInt8, UInt8, UInt8]

#: Planes that are kept, in bytes: of 85 blocks of 512^3, of 5,000 of 64^3. The oldest go first.
KEPT_BYTES = 64 << 20


class ExactReader:
    """Reads blocks of a segmented box as `kernels.exact.block_step` wants them.

    Parameters
    ----------
    affinity, mask
        The volume, and what of it counts; None: all.
    volume
        The segmented box: what lies beyond doesn't count.

    Attributes
    ----------
    needed_bytes
        What the blocks asked for, in the map's dtype: three channels of the cores, and the planes
        beyond them, but of blocks without a voxel that counts nothing.
    """

    def __init__(self, affinity: AffinityReader, mask: MaskReader | None, volume: Box) -> None:
        self._affinity, self._mask, self._volume = affinity, mask, volume
        self._kept: OrderedDict[tuple[int, Box], UInt8] = OrderedDict()
        self._kept_bytes = 0
        self.needed_bytes = 0

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all chunks decoded so far, in the map's dtype and with all their channels."""
        return self._affinity.decoded_bytes

    def in_order(self, blocks: Sequence[int]) -> list[int]:
        """Blocks in the order in which they are best read; given are all after their low neighbours."""
        return list(blocks if self._is_after else reversed(blocks))

    def read(self, core: Box) -> tuple[UInt8, Planes]:
        """The affinities of a core, and the planes beyond its high faces.

        Returns
        -------
        affinity
            uint8 (3, z, y, x), C order; 0 at masked voxels, at edges to them, and across the begin
            of the segmented box.
        planes
            uint8 (y, x), (z, x), (z, y): channel d just beyond the high face of axis d; 0 where
            either voxel is masked, and where the segmented box ends.

        Raises
        ------
        BadAffinityError
            A value isn't in [0, 1]; its voxel counts from the core's corner.
        ConfigError, NoInputError, BadDataError, TemporaryError
            As `AffinityReader.read`.
        """
        around = None if self._mask is None else _Around(self._mask, core, self._volume)
        if around is not None and around.is_empty:
            return self._nothing(core)
        affinity = self._affinity.read_uint8_as_stored(core)
        planes = self._shifted(core, affinity) if self._is_after else self._beyond(core, affinity)
        stored = np.dtype(self._affinity.info.dtype).itemsize
        self.needed_bytes += stored * (affinity.size + sum(plane.size for plane in planes))
        if around is not None:
            for axis in range(3):
                affinity[axis] *= around.edges(axis)
                planes[axis][...] *= around.edges_beyond(axis)
        return affinity, planes

    def _nothing(self, core: Box) -> tuple[UInt8, Planes]:
        """Of a core without a voxel that counts; its neighbours needn't read its planes."""
        z, y, x = core.shape
        planes = _zeros((y, x)), _zeros((z, x)), _zeros((z, y))
        for axis in range(3):
            plane = high_plane(core, axis) if self._is_after else low_plane(core, axis)
            self._keep(axis, plane, planes[axis].copy())
        return np.zeros((3, *core.shape), np.uint8), planes

    @property
    def _is_after(self) -> bool:
        """Whether the map's edges lead to the voxel after."""
        return self._affinity.offset_sign == 1

    def _beyond(self, core: Box, affinity: UInt8) -> Planes:
        """The planes beyond, of a core whose edges lead to the voxel before."""
        for axis in range(3):
            self._keep(axis, low_plane(core, axis), affinity[axis].take(0, axis=axis))
            if core.begin[axis] == self._volume.begin[axis]:
                _at(affinity[axis], axis, 0)[...] = 0
        z, y, x = (self._plane(axis, high_plane(core, axis), core) for axis in range(3))
        return z, y, x

    def _shifted(self, core: Box, affinity: UInt8) -> Planes:
        """The planes beyond, of a core whose edges lead to the voxel after; it is shifted by one."""
        planes = []
        for axis in range(3):
            high = affinity[axis].take(-1, axis=axis)
            if core.end[axis] == self._volume.end[axis]:
                high[...] = 0
            planes.append(high)
            self._keep(axis, high_plane(core, axis), high.copy())
            forward = np.moveaxis(affinity[axis], axis, 0)
            forward[1:] = forward[:-1].copy()
            forward[0] = self._plane(axis, low_plane(core, axis), core)
        z, y, x = planes
        return z, y, x

    def _plane(self, axis: int, box: Box, core: Box) -> UInt8:
        """Channel ``axis`` of a plane of a core: kept, or read; 0 on the border of the volume."""
        if self._is_border(axis, box):
            return _zeros([s for d, s in enumerate(box.shape) if d != axis])
        kept = self._kept.pop((axis, box), None)  # nobody else needs it
        if kept is not None:
            self._kept_bytes -= kept.nbytes
            return kept
        try:
            plane: UInt8 = np.take(self._affinity.read_plane(box, axis), 0, axis=axis)
            return plane
        except BadAffinityError as error:
            where = zip(error.voxel, box.begin, core.begin, strict=True)
            voxel = vec3(v + b - c for v, b, c in where)
            raise BadAffinityError(error.value, axis, voxel) from None

    def _keep(self, axis: int, box: Box, plane: UInt8) -> None:
        if self._is_border(axis, box):
            return
        before = self._kept.pop((axis, box), None)
        self._kept[axis, box] = plane
        self._kept_bytes += plane.nbytes - (0 if before is None else before.nbytes)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def _is_border(self, axis: int, box: Box) -> bool:
        return box.begin[axis] in (self._volume.begin[axis], self._volume.end[axis])


class _Around:
    """The mask of a core and one voxel around it; nothing counts beyond the volume."""

    def __init__(self, mask: MaskReader, core: Box, volume: Box) -> None:
        ring = core.grow((1, 1, 1), (1, 1, 1))
        inside = ring.intersection(volume)
        self._counts = np.zeros(ring.shape, np.bool_)
        self._counts[inside.slices(ring.begin)] = mask.read(inside)
        self._shape = core.shape

    @property
    def is_empty(self) -> bool:
        """No voxel of the core counts."""
        return not self._core((0, 0, 0)).any()

    def edges(self, axis: int) -> Mask:
        """Of each voxel of the core: whether it and the voxel before it count."""
        return self._core((0, 0, 0)) & self._core(_step(axis, -1))

    def edges_beyond(self, axis: int) -> Mask:
        """Of each edge across the high face, as a plane: whether both of its voxels count."""
        last = _at(self._core((0, 0, 0)), axis, -1)
        return last & _at(self._core(_step(axis, 1)), axis, -1)

    def _core(self, by: Vec3) -> Mask:
        """The core, moved."""
        return self._counts[
            tuple(slice(1 + b, 1 + b + s) for b, s in zip(by, self._shape, strict=True))
        ]


def low_plane(core: Box, axis: int) -> Box:
    """The first plane of a core along an axis."""
    end = list(core.end)
    end[axis] = core.begin[axis] + 1
    return Box(core.begin, vec3(end))


def high_plane(core: Box, axis: int) -> Box:
    """The plane just beyond the high face of a core."""
    begin, end = list(core.begin), list(core.end)
    begin[axis], end[axis] = core.end[axis], core.end[axis] + 1
    return Box(vec3(begin), vec3(end))


def _step(axis: int, by: int) -> Vec3:
    return vec3(by * int(d == axis) for d in range(3))


def _at(array: Plane, axis: int, index: int) -> Plane:
    """One plane of an array, as a view."""
    return np.moveaxis(array, axis, 0)[index]  # type: ignore[no-any-return]


def _zeros(shape: Sequence[int]) -> UInt8:
    return np.zeros(shape, np.uint8)
