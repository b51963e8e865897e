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

#: voxels of a window of (2, 2, 2)
_USUAL = 8

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
    _mode_pool(np.ascontiguousarray(labels), *factor, out)
    return out


@njit(nogil=True)
def _mode_pool(labels: Any, fz: int, fy: int, fx: int, out: Any) -> None:
    window = np.empty(fz * fy * fx, labels.dtype)
    mixed = np.empty(out.shape[2], labels.dtype)
    for oz in range(out.shape[0]):
        for oy in range(out.shape[1]):
            halved = _halve(labels, oz, oy, fz, fy, fx, out[oz, oy], mixed)
            for ox in range(out.shape[2]):
                if ox < halved and mixed[ox] == 0:
                    continue
                count = _gather(labels, oz * fz, oy * fy, ox * fx, fz, fy, fx, window)
                out[oz, oy, ox] = _mode(window, count)


@njit(nogil=True)
def _halve(labels: Any, oz: int, oy: int, fz: int, fy: int, fx: int, out: Any, mixed: Any) -> int:
    """Take the first label of each window of a row; ``mixed`` is 0 where it is the only one.

    Returns how many windows that was done for: all that are whole, of factors of 1 or 2 along z, and 2
    along y and x, which most mips have.
    """
    z, y = oz * fz, oy * fy
    if fz > 2 or fy != 2 or fx != 2 or z + fz > labels.shape[0] or y + 2 > labels.shape[1]:
        return 0
    low, low_next = labels[z, y], labels[z, y + 1]
    high, high_next = labels[z + fz - 1, y], labels[z + fz - 1, y + 1]
    whole: int = labels.shape[2] // 2
    for ox in range(whole):  # without a branch: vector instructions
        x = 2 * ox
        first = low[x]
        out[ox] = first
        mixed[ox] = (
            (low[x + 1] ^ first)
            | (low_next[x] ^ first)
            | (low_next[x + 1] ^ first)
            | (high[x] ^ first)
            | (high[x + 1] ^ first)
            | (high_next[x] ^ first)
            | (high_next[x + 1] ^ first)
        )
    return whole


@njit(nogil=True)
def _gather(labels: Any, z0: int, y0: int, x0: int, fz: int, fy: int, fx: int, window: Any) -> int:
    """The labels of a window in raster order; how many there are."""
    nz, ny, nx = labels.shape
    count = 0
    for z in range(z0, min(z0 + fz, nz)):
        for y in range(y0, min(y0 + fy, ny)):
            for x in range(x0, min(x0 + fx, nx)):
                window[count] = labels[z, y, x]
                count += 1
    return count


@njit(nogil=True)
def _mode(window: Any, count: int) -> Any:
    """Most frequent of window[:count]; ties: the one that comes first."""
    best = window[0]
    most = 0
    for i in range(count):
        if count - i <= most:  # what is left can't be more
            break
        label = window[i]
        times = 0
        if count == _USUAL:
            for j in range(_USUAL):  # of known length, without a branch: a few vector instructions
                times += window[j] == label
        else:
            for j in range(count):
                times += window[j] == label
        if times > most:
            most = times
            best = label
            if 2 * times >= count:
                break
    return best
