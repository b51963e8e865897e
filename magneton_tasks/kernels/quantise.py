"""From affinities as they are stored to those that kernels read: float32 in [0, 1], or uint8.

Each voxel by itself, so that it doesn't matter in which pieces a map is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import vec3
from magneton_tasks.kernels.bad_affinity import BadAffinityError

Array = npt.NDArray[Any]
Affinities = npt.NDArray[np.float32]

#: Stored value that stands for affinity 1, by dtype.
SCALES = {"uint8": 255.0, "uint16": 65535.0, "float16": 1.0, "float32": 1.0}

#: By stored dtype, how far rounding may carry an affinity of 0 or 1 beyond; a few steps of it.
ROUNDING = {"float16": 2e-3, "float32": 5e-7}


@dataclass(frozen=True, slots=True)
class Scaling:
    """What stored values mean.

    Attributes
    ----------
    dtype
        One of `SCALES`.
    scale
        Stored value that means affinity 1.
    invert
        Boundaries are stored: affinity = 1 - stored.
    """

    dtype: str
    scale: float
    invert: bool = False

    @property
    def is_as_is(self) -> bool:
        """Whether what is stored is what `quantise` makes of it."""
        return self.dtype == "uint8" and self.scale == 255 and not self.invert

    def quantise(self, stored: Array, out: Array, axis: int) -> None:
        """One channel (z, y, x) as uint8, with 255 for affinity 1.

        Raises
        ------
        BadAffinityError
            A value is NaN or outside [0, 1]; its voxel counts from the array's corner.
        """
        if self.is_as_is:
            out[...] = stored
            return
        exact = np.empty(stored.shape, np.float32)
        self.convert(stored, exact)
        if not (exact.min(initial=0) >= 0 and exact.max(initial=1) <= 1):  # NaN fails it too
            raise _not_affinity(exact, axis)
        np.rint(np.multiply(exact, np.float32(255), out=exact), out=out, casting="unsafe")

    def convert(self, stored: Array, out: Affinities) -> None:
        """One channel (z, y, x): divide by the scale, in one pass; nothing is checked."""
        np.divide(stored, np.float32(self.scale), out=out, dtype=np.float32, casting="unsafe")
        if self.invert:
            np.subtract(np.float32(1), out, out=out)
        rounding = ROUNDING.get(self.dtype)
        if rounding is not None:
            _without_rounding(out, rounding)


def _without_rounding(affinity: Affinities, rounding: float) -> None:
    """Set what is beyond 0 or 1 by no more than ``rounding`` to 0 or 1, plane by plane."""
    for plane in affinity:
        low, high = plane.min(initial=0), plane.max(initial=1)
        if not (low >= 0 and high <= 1):  # NaN fails it too, and stays
            np.copyto(plane, 0, where=(plane < 0) & (plane >= -rounding))
            np.copyto(plane, 1, where=(plane > 1) & (plane <= 1 + rounding))


def _not_affinity(affinity: Affinities, axis: int) -> BadAffinityError:
    """The error for the first value of a channel that isn't in [0, 1]."""
    voxel = vec3(np.argwhere(~((affinity >= 0) & (affinity <= 1)))[0])
    return BadAffinityError(float(affinity[voxel]), axis, voxel)
