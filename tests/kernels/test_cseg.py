"""Chunks of compressed_segmentation: its package is the judge, byte by byte."""

from __future__ import annotations

from typing import Any

import compressed_segmentation
import numpy as np
import pytest

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.cseg import SIDE, encode

LARGE = 2**64 - 1


def by_the_package(labels: Any) -> bytes:
    return bytes(
        compressed_segmentation.compress(
            np.ascontiguousarray(labels).T, block_size=(SIDE,) * 3, order="F"
        )
    )


def blobs(rng: np.random.Generator, shape: Vec3, edge: int, count: int) -> Any:
    """Cubes of ``edge`` voxels, each of one of ``count`` labels."""
    coarse = rng.integers(0, count, [-(-s // edge) for s in shape]).astype(np.uint32)
    fine = coarse.repeat(edge, 0).repeat(edge, 1).repeat(edge, 2)
    return np.ascontiguousarray(fine[: shape[0], : shape[1], : shape[2]])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 300, 40_000])  # 0, 1, 2, 4, 8, 16 bits per voxel
@pytest.mark.parametrize("edge", [1, 3, 8])
@pytest.mark.parametrize("shape", [(16, 24, 32), (17, 8, 25), (1, 3, 2)])
def test_the_bytes_are_those_of_the_package(count: int, edge: int, shape: Vec3) -> None:
    rng = np.random.default_rng(count)
    ids = np.unique(rng.integers(0, LARGE, count, dtype=np.uint64, endpoint=True))
    indices = blobs(rng, shape, edge, len(ids))
    words = encode(indices, Box.of_shape(shape), ids)
    assert words.tobytes() == by_the_package(ids[indices])


def test_a_chunk_is_read_where_it_lies_in_its_cell() -> None:
    rng = np.random.default_rng(0)
    ids = np.array([0, 3, 1 << 33, LARGE], np.uint64)
    cell = blobs(rng, (30, 40, 50), 5, len(ids))
    for box in Box.of_shape(vec3(cell.shape)).tiles((16, 12, 32)):
        assert encode(cell, box, ids).tobytes() == by_the_package(ids[cell[box.slices()]])


def test_labels_that_share_a_slot_of_the_hash_table_stay_apart() -> None:
    """Indices that differ by multiples of the table's size, in one block and in the ones after it."""
    indices = np.zeros((8, 8, 24), np.uint32)
    indices[0, 0] = np.arange(24) // 3 * 1024
    ids = np.arange(1, 8 * 1024, dtype=np.uint64)
    words = encode(indices, Box.of_shape((8, 8, 24)), ids)
    assert words.tobytes() == by_the_package(ids[indices])


def test_more_labels_than_a_chunk_can_hold_are_refused() -> None:
    """Offsets have 24 bits; each block of noise takes 1,280 words."""
    shape = (112, 352, 352)
    indices = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    ids = np.arange(indices.size, dtype=np.uint64)
    with pytest.raises(BadDataError, match="more labels than compressed_segmentation") as caught:
        encode(indices, Box.of_shape(shape), ids)
    assert "chunk_size" in str(caught.value.hint)
