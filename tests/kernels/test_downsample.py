"""Mode pooling."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import downsample
from magneton_tasks.kernels.downsample import mode_pool

BIG = 2**63 + 5  # beyond int64 and float64


def plane(*rows: list[int]) -> npt.NDArray[np.uint64]:
    return np.array([rows], np.uint64)


@pytest.mark.parametrize(
    ("window", "mode"),
    [
        ([[BIG, BIG], [BIG, BIG]], BIG),
        ([[1, BIG], [BIG, 2]], BIG),
        ([[0, 0], [7, 0]], 0),  # background counts like any label
        ([[0, 7], [7, 0]], 0),  # a tie: the first in raster order
        ([[7, 0], [0, 7]], 7),
        ([[9, 3], [4, 2]], 9),
        ([[1, 5], [3, 3]], 3),  # the last two
    ],
)
def test_most_frequent_label(window: list[list[int]], mode: int) -> None:
    assert mode_pool(plane(*window), (1, 2, 2)).tolist() == [[[mode]]]


def test_a_window_has_depth() -> None:
    labels = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 4]]], np.uint64)
    assert mode_pool(labels, (2, 2, 2)).tolist() == [[[4]]]
    assert mode_pool(labels, (2, 1, 1)).tolist() == [[[1, 2], [3, 4]]]


def test_odd_edges_use_the_voxels_that_exist() -> None:
    labels = plane([1, 1, 5], [1, 2, 6], [4, 3, 8])
    #                                          5 over 6: a tie   4 over 3: a tie   alone
    assert mode_pool(labels, (1, 2, 2)).tolist() == [[[1, 5], [4, 8]]]


@pytest.mark.parametrize(
    ("shape", "factor", "expected"),
    [
        ((4, 6, 8), (1, 2, 2), (4, 3, 4)),
        ((5, 7, 9), (2, 2, 2), (3, 4, 5)),
        ((1, 1, 1), (2, 2, 2), (1, 1, 1)),
        ((3, 10, 10), (1, 3, 4), (3, 4, 3)),
        ((3, 4, 5), (1, 1, 1), (3, 4, 5)),
        ((0, 4, 4), (2, 2, 2), (0, 2, 2)),
    ],
)
def test_shapes_are_ceiled(shape: Vec3, factor: Vec3, expected: Vec3) -> None:
    pooled = mode_pool(np.ones(shape, np.uint64), factor)
    assert pooled.shape == expected
    assert pooled.dtype == np.uint64
    assert pooled.flags.c_contiguous
    assert (pooled == 1).all()


def test_strides_and_dtype_of_the_input_do_not_matter() -> None:
    labels = (np.arange(7 * 8 * 9) * 5 % 4).reshape(7, 8, 9)
    expected = mode_pool(labels.astype(np.uint64), (2, 2, 2))
    fortran = np.asfortranarray(labels.astype(np.uint64))
    assert np.array_equal(mode_pool(fortran, (2, 2, 2)), expected)
    small = mode_pool(labels.astype(np.uint32), (2, 2, 2))
    assert small.dtype == np.uint32
    assert np.array_equal(small, expected)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("factor", [(1, 2, 2), (2, 2, 2), (3, 2, 2), (2, 1, 2), (2, 3, 2)])
def test_each_window_by_plain_loops(factor: Vec3, dtype: str) -> None:
    """Blobs, so that windows hold one label, or several; whole windows, and such that are cut."""
    rng = np.random.default_rng(0)
    for shape in [(6, 12, 12), (7, 13, 11), (1, 1, 3)]:
        blobs = rng.integers(0, 4, shape)
        blobs[: shape[0] // 2] = blobs[0, 0, 0]
        labels: Any = np.array([0, 7, 2**32 - 1, np.iinfo(dtype).max], dtype)[blobs]
        pooled = mode_pool(labels, factor)
        for at in np.ndindex(pooled.shape):
            window = labels[tuple(slice(i * f, i * f + f) for i, f in zip(at, factor, strict=True))]
            values = window.ravel().tolist()
            assert pooled[at] == max(values, key=lambda v: (values.count(v), -values.index(v)))


@pytest.mark.parametrize("factor", [(0, 2, 2), (1, -2, 2)])
def test_impossible_factors(factor: Vec3) -> None:
    with pytest.raises(BadDataError, match="by"):
        mode_pool(plane([1]), factor)


def test_golden() -> None:
    """If this fails, the mips changed: bump KERNEL_VERSION along with the digests."""
    i = np.arange(9 * 13 * 17, dtype=np.uint64)
    labels = (i * np.uint64(2654435761) >> np.uint64(9)) % np.uint64(3)
    labels = labels.reshape(9, 13, 17)
    digests = [
        hashlib.sha256(mode_pool(labels, factor).tobytes()).hexdigest()[:16]
        for factor in ((1, 2, 2), (2, 2, 2), (3, 2, 1))
    ]
    assert (downsample.KERNEL_VERSION, digests) == (
        1,
        ["0a6905d071e4e7d2", "83a975402a969f84", "c3e30b1e1df98e8c"],
    )
