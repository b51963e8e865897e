"""A box as the exact method takes it when nothing lies around it: one block without neighbours."""

from __future__ import annotations

import numpy as np

from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.methods import ExactSettings
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
    shape = vec3(affinity.shape[1:])
    check_block(affinity, _high_planes(affinity), Place(0, (0, 0, 0), shape, _NOWHERE))


def start_box(affinity: UInt8, settings: ExactSettings) -> BlockRegions:
    """The regions of a checked box before any is joined; ``settings.threshold`` isn't read.

    Parameters
    ----------
    affinity
        uint8 (3, z, y, x), C-contiguous. **Is written to**: edges across low faces become 0.
    """
    high = _high_planes(affinity)
    close_outer_faces(affinity, high, _NOWHERE)
    return start_block(affinity, high, _NOWHERE, settings).regions


def _high_planes(affinity: UInt8) -> tuple[UInt8, UInt8, UInt8]:
    """The affinities across the high faces, where nothing lies: zeros."""
    nz, ny, nx = vec3(affinity.shape[1:])
    return np.zeros((ny, nx), np.uint8), np.zeros((nz, nx), np.uint8), np.zeros((nz, ny), np.uint8)
