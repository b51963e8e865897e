"""Which basin of which block is which of a join's: by block and number on the block's faces.

A block's rows of `residual.FaceBasins` lie together, sorted by basin; blocks come in any order.
"""

from __future__ import annotations

import numpy as np

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.kernels.exact.residual import Contacts, FaceBasins, Int64, UInt8, UInt32


def contact_basins(faces: FaceBasins, contacts: Contacts) -> tuple[UInt32, UInt32]:
    """The basins on both sides of each contact, as indices of `Basins`: uint32 (contacts,) each.

    Raises
    ------
    BadDataError
        If there's no such basin.
    """
    rows = faces.block.size
    begins = np.flatnonzero(np.append(True, faces.block[1:] != faces.block[:-1])[:rows])
    ends = np.append(begins[1:], rows)[: begins.size]
    order = np.argsort(faces.block[begins])
    blocks, begins, ends = faces.block[begins[order]], begins[order], ends[order]
    sides = (contacts.block_a, contacts.basin_a), (contacts.block_b, contacts.basin_b)
    found = []
    for block, basin in sides:
        index = np.zeros(block.size, np.uint32)
        bad = _look_up(blocks, begins, ends, faces.basin, faces.index, block, basin, index)
        if bad >= 0:
            raise BadDataError(
                f"a contact names face basin {basin[bad]} of block {block[bad]}, which has none such open",
                "the block was segmented again after count: run count again",
            )
        found.append(index)
    return found[0], found[1]


@njit(nogil=True)
def _look_up(
    blocks: UInt32,
    begins: Int64,
    ends: Int64,
    face_basin: UInt32,
    face_index: UInt32,
    block: UInt32,
    basin: UInt32,
    index: UInt32,
) -> int:
    """Fill ``index``; the first row that isn't there, or -1."""
    begin = end = np.int64(0)
    for row in range(block.size):
        if row == 0 or block[row] != block[row - 1]:
            run = np.searchsorted(blocks, block[row])
            if run == blocks.size or blocks[run] != block[row]:
                return row
            begin = begins[run]
            end = ends[run]
        k = begin + np.searchsorted(face_basin[begin:end], basin[row])
        if k == end or face_basin[k] != basin[row]:
            return row
        index[row] = face_index[k]
    return -1


@njit(nogil=True)
def outer_sides_of(block: UInt32, outer_blocks: UInt32, outer_sides: UInt8) -> UInt8:
    """The outer sides of each row's block."""
    sides = np.zeros(block.size, np.uint8)
    for row in range(block.size):
        if row > 0 and block[row] == block[row - 1]:
            sides[row] = sides[row - 1]
            continue
        k = np.searchsorted(outer_blocks, block[row])
        if k < outer_blocks.size and outer_blocks[k] == block[row]:
            sides[row] = outer_sides[k]
    return sides
