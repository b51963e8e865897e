"""Relabelling a block into the volume's ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.relabel import relabel_into, table_of_ids

LUT = np.array([0, 1 << 31 | 7, 0, 2**32 - 1], np.uint32)  # label 2 is left out


def labels(*rows: list[int]) -> npt.NDArray[np.uint32]:
    return np.array([rows], np.uint32)


def test_every_voxel_is_written() -> None:
    out = np.full((1, 2, 3), 5, np.uint32)
    relabel_into(out, labels([0, 1, 1], [2, 3, 0]), LUT)
    assert out.tolist() == [[[0, 1 << 31 | 7, 1 << 31 | 7], [0, 2**32 - 1, 0]]]


def test_slice_of_a_cell_from_a_slice_of_a_block() -> None:
    block = (np.arange(4 * 5 * 6, dtype=np.uint32) % 4).reshape(4, 5, 6)
    cell = np.full((6, 7, 8), 9, np.uint32)
    relabel_into(cell[1:4, 2:5, 3:7], block[1:, 1:4, 2:], LUT)
    expected = np.full((6, 7, 8), 9, np.uint32)
    expected[1:4, 2:5, 3:7] = LUT[block[1:, 1:4, 2:]]
    assert np.array_equal(cell, expected)


@pytest.mark.parametrize("wrong", [4, 4_294_967_295])
def test_a_label_without_id_is_an_error(wrong: int) -> None:
    out = np.zeros((1, 2, 2), np.uint32)
    with pytest.raises(BadDataError, match=rf"label {wrong} at voxel \(0, 1, 0\).*knows 3 labels"):
        relabel_into(out, labels([0, 3], [wrong, 1]), LUT)


def test_background_stays_background() -> None:
    with pytest.raises(BadDataError, match="label 0"):
        relabel_into(np.zeros((1, 1, 1), np.uint32), labels([0]), np.array([3, 4], np.uint32))


def test_block_without_labels() -> None:
    out = np.ones((1, 1, 2), np.uint32)
    relabel_into(out, labels([0, 0]), np.zeros(1, np.uint32))
    assert out.tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("out", "lut"),
    [
        (np.zeros((1, 1, 3), np.uint32), LUT),
        (np.zeros((1, 1, 2), np.uint64), LUT),
        (np.zeros((1, 1, 2), np.uint32), LUT.astype(np.int64)),
        (np.zeros((1, 1, 2), np.uint32), LUT[:0]),
    ],
)
def test_arrays_that_do_not_fit(out: Any, lut: Any) -> None:
    with pytest.raises(BadDataError):
        relabel_into(out, labels([0, 1]), lut)


def test_the_ids_of_a_cell_are_one_ascending_table() -> None:
    large = 2**63 + 5  # beyond int64 and float64
    ids = {
        7: np.array([large, 3, 0], np.uint64),
        2: np.array([], np.uint64),
        9: np.array([3, 1 << 40], np.uint64),
    }
    table, luts = table_of_ids(ids)
    assert table.tolist() == [0, 3, 1 << 40, large]
    assert {block: table[lut].tolist() for block, lut in luts.items()} == {
        7: [0, large, 3, 0],
        2: [0],
        9: [0, 3, 1 << 40],
    }


def test_a_cell_without_labels_has_background_alone() -> None:
    table, luts = table_of_ids({0: np.array([], np.uint64)})
    assert (table.tolist(), luts[0].tolist()) == ([0], [0])
