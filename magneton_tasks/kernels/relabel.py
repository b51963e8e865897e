"""Labels of blocks -> global ids of the volume.

A cell of the output is made of indices into a table of its ids, in 32 bits: half the memory of ids in
64. The table is in ascending order, so that indices compare as the ids do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit


def table_of_ids(
    ids: Mapping[int, npt.NDArray[np.uint64]],
) -> tuple[npt.NDArray[np.uint64], dict[int, npt.NDArray[np.uint32]]]:
    """The ids that occur in a cell, and where those of each of its blocks are.

    Parameters
    ----------
    ids
        Block -> uint64 (n,), the global ids of its labels 1..n; 0 where an object is left out.

    Returns
    -------
    table
        uint64 (m,), ascending, 0 first.
    luts
        Block -> uint32 (n + 1,), the index in ``table`` of each label 0..n.
    """
    background = np.zeros(1, np.uint64)
    parts = [part for own in ids.values() for part in (background, own)]
    table, places = np.unique(np.concatenate([background, *parts]), return_inverse=True)
    ends = np.cumsum([1 + len(own) for own in ids.values()])
    luts = np.split(places[1:].astype(np.uint32), ends[:-1])
    return table, dict(zip(ids, luts, strict=True))


def relabel_into(
    out: npt.NDArray[np.uint32], labels: npt.NDArray[np.uint32], lut: npt.NDArray[np.uint32]
) -> None:
    """Write ``lut[labels]`` into ``out``.

    Parameters
    ----------
    out
        uint32 (z, y, x), any strides (a slice of a cell); every voxel is written.
    labels
        uint32 (z, y, x), of out's shape, any strides.
    lut
        uint32 (n + 1,): what stands for each label 0..n of the block. ``lut[0]`` is 0; so is what
        stands for another label where the object is left out.

    Raises
    ------
    BadDataError
        If a label above n occurs (a label without a global id is an error, never a hole; then
        ``out`` is half written), lut[0] isn't 0, or shapes or dtypes differ.
    """
    if out.shape != labels.shape or out.ndim != 3:
        raise BadDataError(f"labels of shape {labels.shape} for an output of shape {out.shape}")
    if any(array.dtype != np.uint32 for array in (out, labels, lut)):
        raise BadDataError(
            f"output, labels and table are {out.dtype}, {labels.dtype} and {lut.dtype}, not uint32"
        )
    if len(lut) == 0 or lut[0] != 0:
        raise BadDataError("the table of global ids doesn't give background (label 0) the id 0")
    given = labels.view()
    given.flags.writeable = False  # as it is read: one kind of arrays to compile for
    bad = _relabel(out, given, lut)
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
