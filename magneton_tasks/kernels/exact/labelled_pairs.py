"""What all voxel edges between labelled voxels have, whatever merges over them."""

from __future__ import annotations

import numpy as np

from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import UInt8, UInt32


def labelled_pairs(affinity: UInt8, labels: UInt32) -> tuple[int, int]:
    """Sum of the affinities and number of the voxel edges between two voxels that have a label."""
    total, count = _labelled_pairs(affinity, labels)
    return int(total), int(count)


@njit(nogil=True)
def _labelled_pairs(affinity: UInt8, labels: UInt32) -> tuple[int, int]:
    nz, ny, nx = labels.shape
    total = 0
    count = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = labels[z, y, x] != 0
                if z > 0:
                    both = here & (labels[z - 1, y, x] != 0)
                    total += both * np.int64(affinity[0, z, y, x])
                    count += both
                if y > 0:
                    both = here & (labels[z, y - 1, x] != 0)
                    total += both * np.int64(affinity[1, z, y, x])
                    count += both
                if x > 0:
                    both = here & (labels[z, y, x - 1] != 0)
                    total += both * np.int64(affinity[2, z, y, x])
                    count += both
    return total, count
