"""The affinities of the exact method's blocks: cores, and the planes beyond their high faces.

::

                  core of the block                  needs, of channel x,
        | o-o-o-o-o-o-o-o-o-o-o-o-o-o-o-o-o |- o     the plane beyond its high x face:
                                                     the low plane of the next core

Reading that plane decodes a layer of whole chunks. So the low planes of the cores that were read
are kept (one channel, one voxel thick), and blocks are best read from the last to the first: then
each chunk of neighbouring blocks is decoded once.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.geometry import Box, Vec3, vec3
from magneton_tasks.stores.affinity import AffinityReader, MaskReader

UInt8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Planes = tuple[UInt8, UInt8, UInt8]

#: Low planes that are kept, in bytes: those of 340 blocks of 512^3.
KEPT_BYTES = 256 << 20


class ExactReader:
    """Reads blocks of a segmented box as `kernels.block_step` wants them.

    Parameters
    ----------
    affinity, mask
        The volume, and what of it counts; None: all.
    volume
        The segmented box: what lies beyond doesn't count.

    Attributes
    ----------
    needed_bytes
        uint8 affinities that the blocks asked for: three channels of the cores, and the planes
        beyond.
    """

    def __init__(self, affinity: AffinityReader, mask: MaskReader | None, volume: Box) -> None:
        self._affinity, self._mask, self._volume = affinity, mask, volume
        self._kept: OrderedDict[tuple[int, Box], UInt8] = OrderedDict()
        self._kept_bytes = 0
        self.needed_bytes = 0

    @property
    def decoded_bytes(self) -> int:
        """Bytes of all chunks decoded so far, in the volume's dtype and with all its channels."""
        return self._affinity.decoded_bytes

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
        affinity = self._affinity.read_uint8(core)
        z, y, x = (self._beyond(core, axis) for axis in range(3))
        for axis in range(3):
            self._keep(axis, low_plane(core, axis), affinity[axis].take(0, axis=axis))
            if core.begin[axis] == self._volume.begin[axis]:
                _at(affinity[axis], axis, 0)[...] = 0
        self.needed_bytes += affinity.nbytes + z.nbytes + y.nbytes + x.nbytes
        if self._mask is not None:
            self._cut(core, affinity, (z, y, x), self._mask)
        return affinity, (z, y, x)

    def _beyond(self, core: Box, axis: int) -> UInt8:
        """Channel ``axis`` just beyond the high face; a copy of what is kept."""
        box = high_plane(core, axis)
        if core.end[axis] == self._volume.end[axis]:
            return np.zeros([s for a, s in enumerate(box.shape) if a != axis], np.uint8)
        kept = self._kept.get((axis, box))
        if kept is not None:
            return kept.copy()
        return np.ascontiguousarray(self._affinity.read_uint8(box)[axis].take(0, axis=axis))

    def _keep(self, axis: int, box: Box, plane: UInt8) -> None:
        before = self._kept.pop((axis, box), None)
        self._kept[axis, box] = np.ascontiguousarray(plane)
        self._kept_bytes += plane.nbytes - (0 if before is None else before.nbytes)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes

    def _cut(self, core: Box, affinity: UInt8, planes: Planes, mask: MaskReader) -> None:
        """Zero the edges of masked voxels, in place."""
        low = vec3(int(b > v) for b, v in zip(core.begin, self._volume.begin, strict=True))
        high = vec3(int(e < v) for e, v in zip(core.end, self._volume.end, strict=True))
        around = mask.read(core.grow(low, high))
        if around.all():
            return
        inside = tuple(slice(n, n + s) for n, s in zip(low, core.shape, strict=True))
        own = around[inside]
        for axis in range(3):
            before = _shifted(around, inside, axis, low)
            affinity[axis][~(own & before)] = 0
            if high[axis]:
                beyond = list(inside)
                beyond[axis] = slice(low[axis] + core.shape[axis], None)
                behind = around[tuple(beyond)].take(0, axis=axis)
                planes[axis][~(behind & own.take(-1, axis=axis))] = 0


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


def _shifted(around: Mask, inside: tuple[slice, ...], axis: int, low: Vec3) -> Mask:
    """For each voxel of the core, the mask of the voxel before it; True before the volume."""
    index = list(inside)
    first = inside[axis].start
    if low[axis]:
        index[axis] = slice(first - 1, inside[axis].stop - 1)
        return around[tuple(index)]
    before = np.ones_like(around[inside])
    source, target = list(inside), [slice(None)] * 3
    source[axis] = slice(first, inside[axis].stop - 1)
    target[axis] = slice(1, None)
    before[tuple(target)] = around[tuple(source)]
    return before


def _at(array: UInt8, axis: int, index: int) -> UInt8:
    """One plane of an array, as a view."""
    chosen: list[slice | int] = [slice(None)] * 3
    chosen[axis] = index
    view: UInt8 = array[tuple(chosen)]
    return view
