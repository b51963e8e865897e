"""Mode pooling of labels: the next mip of a segmentation.

Written here because the library for it, tinybrain, is under the GPL; the conventions are the
usual ones: the most frequent label wins, background (0) counts like any label, and each mip is
made from the one before.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.compiled.jit import njit

#: Bump when the same labels give another mip; guarded by the golden test.
KERNEL_VERSION = versions.DOWNSAMPLE

Label = TypeVar("Label", np.uint32, np.uint64)


def mode_pool(labels: npt.NDArray[Label], factor: Vec3) -> npt.NDArray[Label]:
    """The most frequent label of each window of ``factor`` voxels.

    Ties go to the label that comes first in the window in raster order (z, y, x): deterministic,
    independent of what the ids happen to be, and no bias for or against background. Where the
    window reaches beyond the array (odd edges), the mode is over the voxels that exist.

    A cell gives the same voxels as the whole volume if its begin is a multiple of ``factor``
    counted from the volume's begin, and its end too unless it is the volume's.

    Parameters
    ----------
    labels
        uint64 or uint32 (z, y, x), any strides.
    factor
        (z, y, x), each at least 1.

    Returns
    -------
    Labels of the same dtype, C order, of shape ceil(shape / factor).

    Raises
    ------
    BadDataError
        For a factor below 1 or an array that isn't three-dimensional.
    """
    if labels.ndim != 3 or min(factor) < 1:
        raise BadDataError(f"can't downsample an array of shape {labels.shape} by {factor}")
    shape = tuple(-(-length // f) for length, f in zip(labels.shape, factor, strict=True))
    out = np.empty(shape, labels.dtype)
    _mode_pool(labels, *factor, out)
    return out


@njit(nogil=True)
def _mode_pool(labels: Any, fz: int, fy: int, fx: int, out: Any) -> None:
    nz, ny, nx = labels.shape
    window = np.empty(fz * fy * fx, labels.dtype)
    for oz in range(out.shape[0]):
        for oy in range(out.shape[1]):
            for ox in range(out.shape[2]):
                z1, y1, x1 = min(oz * fz + fz, nz), min(oy * fy + fy, ny), min(ox * fx + fx, nx)
                first = labels[oz * fz, oy * fy, ox * fx]
                same = True  # most windows lie inside one object
                for z in range(oz * fz, z1):
                    for y in range(oy * fy, y1):
                        for x in range(ox * fx, x1):
                            same &= labels[z, y, x] == first
                if same:
                    out[oz, oy, ox] = first
                    continue
                count = 0
                for z in range(oz * fz, z1):
                    for y in range(oy * fy, y1):
                        for x in range(ox * fx, x1):
                            window[count] = labels[z, y, x]
                            count += 1
                out[oz, oy, ox] = _mode(window, count)


@njit(nogil=True)
def _mode(window: Any, count: int) -> Any:
    """Most frequent of window[:count]; ties: the one that comes first."""
    best = window[0]
    most = 0
    for i in range(count):
        if count - i <= most:  # what is left can't be more
            break
        times = 0
        for j in range(i, count):
            if window[j] == window[i]:
                times += 1
        if times > most:
            most = times
            best = window[i]
    return best
