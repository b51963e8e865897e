"""Labels of a block -> global ids of the volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit


def relabel_into(
    out: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint32], lut: npt.NDArray[np.uint64]
) -> None:
    """Write ``lut[labels]`` into ``out``.

    Parameters
    ----------
    out
        uint64 (z, y, x), any strides (a slice of a cell); every voxel is written.
    labels
        uint32 (z, y, x), of out's shape, any strides.
    lut
        uint64 (n + 1,): the global id of each label 0..n of the block. ``lut[0]`` is 0; another
        label's id is 0 where the object is left out.

    Raises
    ------
    BadDataError
        If a label above n occurs (a label without a global id is an error, never a hole; then
        ``out`` is half written), lut[0] isn't 0, or shapes or dtypes differ.
    """
    if out.shape != labels.shape or out.ndim != 3:
        raise BadDataError(f"labels of shape {labels.shape} for an output of shape {out.shape}")
    if out.dtype != np.uint64 or labels.dtype != np.uint32 or lut.dtype != np.uint64:
        raise BadDataError(
            f"output, labels and table are {out.dtype}, {labels.dtype} and {lut.dtype}, "
            "not uint64, uint32 and uint64"
        )
    if len(lut) == 0 or lut[0] != 0:
        raise BadDataError("the table of global ids doesn't give background (label 0) the id 0")
    bad = _relabel(out, labels, lut)
    if bad >= 0:
        where = np.unravel_index(bad, labels.shape)
        raise BadDataError(
            f"label {int(labels[where])} at voxel {tuple(map(int, where))} of the block's part "
            f"has no global id: the pool table knows {len(lut) - 1} labels of this block",
            "the block was segmented again after pool: run pool and apply again",
        )


@njit(nogil=True)
def _relabel(out: Any, labels: Any, lut: Any) -> Any:
    """Flat index of the first label without an entry, or -1."""
    last = np.uint32(0)  # neighbours are mostly equal: half of the look-ups are saved
    value = lut[0]
    for z in range(labels.shape[0]):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = labels[z, y, x]
                if label != last:
                    if label >= len(lut):
                        return (z * labels.shape[1] + y) * labels.shape[2] + x
                    last = label
                    value = lut[label]
                out[z, y, x] = value
    return -1
