"""Relabelling a block into the volume's ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.relabel import relabel_into

LUT = np.array([0, 1 << 33 | 7, 0, 2**64 - 1], np.uint64)  # label 2 is left out


def labels(*rows: list[int]) -> npt.NDArray[np.uint32]:
    return np.array([rows], np.uint32)


def test_every_voxel_is_written() -> None:
    out = np.full((1, 2, 3), 5, np.uint64)
    relabel_into(out, labels([0, 1, 1], [2, 3, 0]), LUT)
    assert out.tolist() == [[[0, 1 << 33 | 7, 1 << 33 | 7], [0, 2**64 - 1, 0]]]


def test_slice_of_a_cell_from_a_slice_of_a_block() -> None:
    block = (np.arange(4 * 5 * 6, dtype=np.uint32) % 4).reshape(4, 5, 6)
    cell = np.full((6, 7, 8), 9, np.uint64)
    relabel_into(cell[1:4, 2:5, 3:7], block[1:, 1:4, 2:], LUT)
    expected = np.full((6, 7, 8), 9, np.uint64)
    expected[1:4, 2:5, 3:7] = LUT[block[1:, 1:4, 2:]]
    assert np.array_equal(cell, expected)


@pytest.mark.parametrize("wrong", [4, 4_294_967_295])
def test_a_label_without_id_is_an_error(wrong: int) -> None:
    out = np.zeros((1, 2, 2), np.uint64)
    with pytest.raises(BadDataError, match=rf"label {wrong} at voxel \(0, 1, 0\).*knows 3 labels"):
        relabel_into(out, labels([0, 3], [wrong, 1]), LUT)


def test_background_stays_background() -> None:
    with pytest.raises(BadDataError, match="label 0"):
        relabel_into(np.zeros((1, 1, 1), np.uint64), labels([0]), np.array([3, 4], np.uint64))


def test_block_without_labels() -> None:
    out = np.ones((1, 1, 2), np.uint64)
    relabel_into(out, labels([0, 0]), np.zeros(1, np.uint64))
    assert out.tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("out", "lut"),
    [
        (np.zeros((1, 1, 3), np.uint64), LUT),
        (np.zeros((1, 1, 2), np.uint32), LUT),
        (np.zeros((1, 1, 2), np.uint64), LUT.astype(np.int64)),
        (np.zeros((1, 1, 2), np.uint64), LUT[:0]),
    ],
)
def test_arrays_that_do_not_fit(out: Any, lut: Any) -> None:
    with pytest.raises(BadDataError):
        relabel_into(out, labels([0, 1]), lut)
