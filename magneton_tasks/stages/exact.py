"""What the stages of the exact method share: settings, places of blocks, counts of rows."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import numpy as np

from magneton_tasks.base.geometry import vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.config.settings import exact_settings
from magneton_tasks.kernels.exact.block_step import Place
from magneton_tasks.kernels.exact.residual import Residual
from magneton_tasks.kernels.exact.rounds.tables import Int64
from magneton_tasks.plan.fingerprints import lowest_threshold
from magneton_tasks.plan.rounds import Groups
from magneton_tasks.work.attempt import Attempt

#: of malloc.h
_M_MMAP_THRESHOLD = -3
#: Each such array is a mapping of its own, of which Linux allows a process 65,530.
_LEAST_GIVEN_BACK_BYTES = 1 << 16


def place_of(grid: Grid, key: int) -> Place:
    """Where a block lies in the segmented box, and which of its faces have a neighbour."""
    core, at, whole = grid.core(key), grid.index3(key), grid.box
    z, y, x = ((p > 0, p + 1 < n) for p, n in zip(at, grid.shape, strict=True))
    origin = vec3(c - b for c, b in zip(core.begin, whole.begin, strict=True))
    return Place(key, origin, whole.shape, (z, y, x))


def run_settings(attempt: Attempt) -> ExactSettings:
    """What blocks, faces and rounds work with: they merge down to the lowest threshold."""
    lowest = lowest_threshold(attempt.config, attempt.plan.threshold.value)
    return exact_settings(attempt.config, lowest)


def rows_of(residual: Residual) -> dict[str, int]:
    """Rows of each table: what a group of blocks takes follows from them."""
    return {
        "regions": len(residual.regions.block),
        "edges": len(residual.edges.u),
        "basins": len(residual.basins.region),
        "pairs": len(residual.pairs.a),
    }


def groups_of(groups: Groups, blocks: Int64) -> Int64:
    """The group of each block."""
    position = np.stack(np.unravel_index(blocks, groups.blocks))
    number = position // np.array(groups.span)[:, None]
    return np.asarray(np.ravel_multi_index(tuple(number), groups.shape), np.int64)


def give_back_early() -> None:
    """Let arrays go back to the system as soon as they are freed, for the rest of this process.

    glibc else keeps those of up to 32 MiB for later. Columns of small blocks are smaller than a MiB:
    64 blocks of 128^3 peaked at 1152 MiB where arrays of a MiB went back, and at 809 MiB with these.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LEAST_GIVEN_BACK_BYTES)
