"""Masks, read as voxels of the affinity map."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.metadata import VolumeInfo
from magneton_tasks.formats.volume import Volume, open_volume


class MaskReader:
    """A mask: nonzero voxels are segmented.

    Its extent must be that of the affinity map, at the same voxel size or a coarser one whose
    voxels are whole multiples (z, y and x apart): each mask voxel then stands for all voxels in
    it. Coarser voxels lie on the grid of the frame (voxel ``v`` in mask voxel ``v // factor``),
    or on a grid that begins with the volume, as the mips of most tools do. Where both boxes are
    equal the voxel size isn't looked at: masks often have none.

    Raises
    ------
    ConfigError
        Another shape, extent or voxel size; more than one channel; a float dtype.
    """

    def __init__(self, url: str, mip: int, affinity: VolumeInfo) -> None:
        self._volume: Volume = open_volume(url, mip)
        self.info: VolumeInfo = self._volume.info
        self._affinity = affinity
        if self.info.channels != 1:
            raise ConfigError(f"mask {url} has {self.info.channels} channels", "a mask has one")
        if self.info.dtype.startswith("float"):
            raise ConfigError(f"mask {url} is {self.info.dtype}", "a mask is of integers or bool")
        self.factor = self._fitting_factor()
        self._shift = self._fitting_shift()

    def _fitting_factor(self) -> Vec3:
        if self.info.box == self._affinity.box:
            return (1, 1, 1)
        mask, affinity = self.info.voxel_size_nm, self._affinity.voxel_size_nm
        ratios = [m / a for m, a in zip(mask, affinity, strict=True)]
        factor = vec3(max(round(r), 1) for r in ratios)
        if any(abs(r - f) > 1e-3 * f for r, f in zip(ratios, factor, strict=True)):
            raise self._misfit()
        return factor

    def _fitting_shift(self) -> Vec3:
        """Where the grid of mask voxels begins, in voxels of the map modulo the factor."""
        box = self._affinity.box
        anchored = vec3(b % f for b, f in zip(box.begin, self.factor, strict=True))
        for shift in ((0, 0, 0), anchored):
            if self.info.box == _coarse(box, self.factor, shift):
                return shift
        raise self._misfit()

    def _misfit(self) -> ConfigError:
        mask, affinity = self.info, self._affinity
        return ConfigError(
            f"mask {mask.url} at mip {mask.mip} doesn't fit the affinity map: it has "
            f"{mask.box.shape} voxels of {mask.voxel_size_nm} nm at {mask.box.begin}, the map "
            f"{affinity.box.shape} of {affinity.voxel_size_nm} nm at {affinity.box.begin} (z, y, x)",
            "give a mask of the same extent, at this voxel size or a whole multiple of it",
        )

    def read(self, box: Box) -> npt.NDArray[np.bool_]:
        """The mask of a box in voxels of the affinity map: bool (z, y, x).

        Raises
        ------
        NoInputError, BadDataError, TemporaryError
            As `volumes.Volume.read`.
        """
        back = vec3(-s for s in self._shift)
        shifted = box.translate(back)
        coarse = _coarse(box, self.factor, self._shift)
        found: npt.NDArray[np.bool_] = self._volume.read(coarse)[0] != 0
        for axis, factor in enumerate(self.factor):
            if factor > 1:
                found = np.repeat(found, factor, axis=axis)
        origin = vec3(b * f for b, f in zip(coarse.begin, self.factor, strict=True))
        return np.ascontiguousarray(found[shifted.slices(origin)])


def _coarse(box: Box, factor: Vec3, shift: Vec3) -> Box:
    """The mask voxels that hold a box, where mask voxel m begins at ``m * factor + shift``."""
    return Box(
        vec3((b - s) // f for b, f, s in zip(box.begin, factor, shift, strict=True)),
        vec3(-((s - e) // f) for e, f, s in zip(box.end, factor, shift, strict=True)),
    )
