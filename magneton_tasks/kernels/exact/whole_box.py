"""A box as the exact method takes it when nothing lies around it: one block without neighbours."""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact.basins import Planes
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_regions import BlockRegions, start_block
from magneton_tasks.kernels.exact.block_step import check_block, check_settings, close_outer_faces
from magneton_tasks.kernels.exact.residual import UInt8

_NOWHERE = ((False, False),) * 3


def check_box(affinity: UInt8, settings: ExactSettings) -> None:
    """Check a box and the settings.

    Raises
    ------
    BadDataError, ConfigError
        As `block_step.segment_block_exact`.
    """
    check_settings(settings)
    check_block(affinity, *alone(vec3(affinity.shape[1:])))


def start_box(affinity: UInt8, settings: ExactSettings) -> BlockRegions:
    """The regions of a checked box before any is joined; ``settings.threshold`` isn't read.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x), C-contiguous. **Is written to**: edges across low faces become 0.
    """
    high, _ = alone(vec3(affinity.shape[1:]))
    close_outer_faces(affinity, high, _NOWHERE)
    return start_block(affinity, high, _NOWHERE, settings).regions


def alone(shape: Vec3) -> tuple[Planes, Place]:
    """Of a box of this shape: the affinities across its high faces, zeros, and its place."""
    nz, ny, nx = shape
    high = np.zeros((ny, nx), np.uint8), np.zeros((nz, nx), np.uint8), np.zeros((nz, ny), np.uint8)
    return high, Place(0, (0, 0, 0), shape, _NOWHERE)
