"""Labels -> a chunk of the encoding compressed_segmentation: the bytes that its package makes.

The package takes five times as long, and a copy of the chunk in uint64; this reads the chunk where
it lies in its cell, as indices into the cell's ids. Format, in 32-bit words::

    1 | header of each block: 8 bits per voxel, 24 offset of its table; offset of its voxels | ...
    ... | voxels of a block: places in its table, lowest bits first | its table, where it is new | ...

A table holds the sorted labels of a block of 8^3 voxels; blocks with the same labels share one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base.geometry import Box, ceil_div
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.compiled.jit import njit

#: Voxels of a block along each axis.
SIDE = 8
_VOXELS = SIDE**3
#: Of the hash table of a block's labels: twice as many as there can be.
_SLOTS = 2 * _VOXELS
#: Of a header's offset to a table.
_MOST_WORDS = 1 << 24


def encode(
    indices: npt.NDArray[np.uint32], box: Box, ids: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint32]:
    """The words of a chunk.

    Parameters
    ----------
    indices
        uint32 (z, y, x), C order: where in ``ids`` the label of each voxel is.
    box
        The chunk, in voxels of ``indices``; not empty.
    ids
        uint64 (n,), ascending.

    Returns
    -------
    uint32 (words,), to be stored little-endian.

    Raises
    ------
    BadDataError
        It has more labels than a chunk can hold.
    """
    blocks = int(np.prod([ceil_div(length, SIDE) for length in box.shape]))
    # Pages that no word is written to cost nothing.
    out = np.empty(1 + blocks * (2 + _VOXELS // 2 + 2 * _VOXELS), np.uint32)
    words = _encode(indices, box.begin, box.end, ids, out)
    if words < 0:
        raise BadDataError(
            f"a chunk of {box.shape} voxels has more labels than compressed_segmentation can hold",
            "take a smaller apply.chunk_size, or apply.encoding: raw",
        )
    return out[:words]


@njit(nogil=True)
def _encode(indices: Any, begin: Any, end: Any, ids: Any, out: Any) -> Any:
    """Write a chunk; words written, -1 where an offset doesn't fit."""
    blocks = 1
    for k in range(3):
        blocks *= (end[k] - begin[k] + SIDE - 1) // SIDE
    slots, numbers = np.full(_SLOTS, -1, np.int64), np.empty(_VOXELS, np.uint32)
    rank = np.zeros(_VOXELS + 1, np.uint32)
    found, keys = np.empty(_VOXELS, np.uint32), np.empty(_VOXELS, np.uint64)
    # of each table: where it stands in `out`, and how many labels it has
    tables = np.zeros((_power_of_two(2 * blocks), 2), np.int64)
    out[0] = 1
    at, block = 1 + 2 * blocks, 0
    for z in range(begin[0], end[0], SIDE):
        for y in range(begin[1], end[1], SIDE):
            for x in range(begin[2], end[2], SIDE):
                nz, ny, nx = min(SIDE, end[0] - z), min(SIDE, end[1] - y), min(SIDE, end[2] - x)
                voxels, bits = at, 0
                if _is_constant(indices, z, y, x, nz, ny, nx):
                    count = 1
                    found[0] = indices[z, y, x]
                else:
                    count = _number(
                        indices, z, y, x, nz, ny, nx, block * _VOXELS, slots, found, numbers
                    )
                    bits = _bits(count)
                _sort(found, count, keys, rank)
                if bits:
                    at = _write_voxels(numbers, rank, bits, out, at)
                table, at = _write_table(keys, count, ids, tables, out, at)
                if table > _MOST_WORDS:
                    return -1
                out[1 + 2 * block] = table - 1 | bits << 24
                out[2 + 2 * block] = voxels - 1
                block += 1
    return at


@njit(nogil=True)
def _power_of_two(least: int) -> int:
    size = 1
    while size < least:
        size *= 2
    return size


@njit(nogil=True)
def _bits(count: int) -> int:
    """Per voxel, for tables of more than one label: a power of two."""
    bits = 1
    while 1 << bits < count:
        bits *= 2
    return bits


@njit(nogil=True)
def _is_constant(indices: Any, z: int, y: int, x: int, nz: int, ny: int, nx: int) -> bool:
    first = indices[z, y, x]
    for k in range(nz):
        for j in range(ny):
            if not _is_row_of(indices[z + k, y + j], x, nx, first):
                return False
    return True


@njit(nogil=True)
def _is_row_of(row: Any, x: int, nx: int, label: Any) -> bool:
    other = np.uint32(0)
    if nx == SIDE:
        for i in range(SIDE):  # of known length: a few vector instructions
            other |= row[x + i] ^ label
    else:
        for i in range(nx):
            other |= row[x + i] ^ label
    return bool(other == 0)


@njit(nogil=True)
def _number(
    indices: Any, z: int, y: int, x: int, nz: int, ny: int, nx: int,
    base: int, slots: Any, found: Any, numbers: Any,
) -> int:  # fmt: skip
    """Number a block's labels in the order in which they come; how many there are.

    ``slots`` are free where they hold less than ``base``: what blocks before have left. Voxels
    beyond the chunk's end get a number of their own, whose rank is always 0.
    """
    if nz < SIDE or ny < SIDE or nx < SIDE:
        numbers[:] = _VOXELS
    count = number = 0
    last = np.uint32(0)
    for k in range(nz):
        for j in range(ny):
            row = (k * SIDE + j) * SIDE
            if count and _is_row_of(indices[z + k, y + j], x, nx, last):
                numbers[row : row + nx] = number
                continue
            for i in range(nx):
                label = indices[z + k, y + j, x + i]
                if label != last or count == 0:
                    last = label
                    slot = np.int64(label) * 40503 & (_SLOTS - 1)
                    while slots[slot] >= base and found[slots[slot] - base] != label:
                        slot = (slot + 1) & (_SLOTS - 1)
                    if slots[slot] < base:
                        slots[slot] = base + count
                        found[count] = label
                        count += 1
                    number = slots[slot] - base
                numbers[row + i] = number
    return count


@njit(nogil=True)
def _sort(found: Any, count: int, keys: Any, rank: Any) -> None:
    """Sort a block's labels: each label and, in the lowest 16 bits, its number; and the ranks of these."""
    for i in range(count):
        keys[i] = np.uint64(found[i]) << np.uint64(16) | np.uint64(i)
    for gap in (109, 41, 19, 5, 1):  # shell sort: mostly two or three, at most 512
        for i in range(gap, count):
            key, j = keys[i], i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
    for i in range(count):
        rank[keys[i] & np.uint64(0xFFFF)] = i


@njit(nogil=True)
def _write_voxels(numbers: Any, rank: Any, bits: int, out: Any, at: int) -> int:
    """Write the places of a block's labels in its table; where what follows begins."""
    words, voxels = _VOXELS * bits // 32, 32 // bits
    for i in range(words):
        word = np.uint32(0)
        for j in range(voxels):
            word |= rank[numbers[i * voxels + j]] << np.uint32(j * bits)
        out[at + i] = word
    return at + words


@njit(nogil=True)
def _write_table(
    keys: Any, count: int, ids: Any, tables: Any, out: Any, at: int
) -> tuple[int, int]:
    """Write a table, unless it stands there already; where it stands, and where what follows begins."""
    mixed = np.uint64(count)
    for i in range(count):
        mixed = (mixed ^ keys[i] >> np.uint64(16)) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(mixed >> np.uint64(32)) & (len(tables) - 1)
    while tables[slot, 1]:
        table = tables[slot, 0]
        if tables[slot, 1] == count and _is_table(keys, count, ids, out, table):
            return table, at
        slot = (slot + 1) & (len(tables) - 1)
    tables[slot, 0], tables[slot, 1] = at, count
    for i in range(count):
        label = ids[keys[i] >> np.uint64(16)]
        out[at + 2 * i] = label & np.uint64(0xFFFFFFFF)
        out[at + 2 * i + 1] = label >> np.uint64(32)
    return at, at + 2 * count


@njit(nogil=True)
def _is_table(keys: Any, count: int, ids: Any, out: Any, table: int) -> bool:
    for i in range(count):
        label = ids[keys[i] >> np.uint64(16)]
        if out[table + 2 * i] != label & np.uint64(0xFFFFFFFF) or out[
            table + 2 * i + 1
        ] != label >> np.uint64(32):
            return False
    return True
