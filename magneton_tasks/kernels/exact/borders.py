"""The voxel edges between different labels, found row by row: most of a block is inside of something.

An edge is found as its *code*, ``x << 2 | axis`` in its row: the edge between the voxel and the one
before it along that axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import UInt8, UInt32

#: Voxels whose marks are looked at in one go.
_WORD = 8


@njit(nogil=True)
def row_buffers(length: int) -> tuple[UInt8, UInt32]:
    """Marks and codes for `border_row`, 13 B a voxel of a row."""
    marks = np.zeros(-(-length // _WORD) * _WORD, np.uint8)  # zeros up to a whole word
    return marks, np.empty(3 * marks.size + 1, np.uint32)


@njit(nogil=True)
def steps_back(labels: UInt32) -> NDArray[np.int64]:
    """int64 (3,): from a voxel back to the one before it along each axis, in a flat array."""
    _, ny, nx = labels.shape
    return np.array([ny * nx, nx, 1])


@njit(nogil=True)
def border_row(labels: UInt32, z: int, y: int, marks: UInt8, codes: UInt32) -> int:
    """Find the voxel edges of a row between two labels, neither of them 0.

    Parameters
    ----------
    labels
        uint32 (z, y, x).
    marks, codes
        `row_buffers`. **Written to**: the codes, in the order of positions.

    Returns
    -------
    int
        Edges that were found; what follows in ``codes`` means nothing.
    """
    _mark_borders(labels, z, y, marks)
    words = marks.view(np.uint64)
    found = 0
    for word in range(words.size):
        if words[word] == 0:
            continue
        # Borders are hard to predict: write in any case, and go on where there was one.
        for x in range(_WORD * word, _WORD * word + _WORD):
            for axis in range(3):
                codes[found] = x << 2 | axis
                found += marks[x] >> axis & 1
    return found


@njit(nogil=True)
def _mark_borders(labels: UInt32, z: int, y: int, marks: UInt8) -> None:
    """Set bit 0, 1, 2 of each voxel that has an edge between two labels along z, y, x.

    Without branches, so that it compiles to vector instructions.
    """
    row = labels[z, y]
    row_z = labels[z - 1, y] if z > 0 else row
    row_y = labels[z, y - 1] if y > 0 else row
    marks[0] = _differ(row[0], row_z[0]) | _differ(row[0], row_y[0]) << 1
    for x in range(1, row.size):
        along_z = _differ(row[x], row_z[x])
        along_y = np.uint8(_differ(row[x], row_y[x]) << np.uint8(1))
        along_x = np.uint8(_differ(row[x], row[x - 1]) << np.uint8(2))
        marks[x] = np.uint8(np.uint8(along_z | along_y) | along_x)


@njit(nogil=True)
def _differ(a: int, b: int) -> np.uint8:
    return np.uint8((a != b) & (a != 0) & (b != 0))
