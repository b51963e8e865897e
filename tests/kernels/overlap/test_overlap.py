"""Counting the overlaps of two blocks."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.overlap import overlap
from magneton_tasks.kernels.overlap.overlap import Pairs, count_overlaps

COLUMNS = ("label_a", "label_b", "n", "a_in", "b_in", "a_all", "b_all")


def volume(*rows: list[int]) -> npt.NDArray[np.uint32]:
    return np.array([rows], np.uint32)


def sizes(*values: int) -> npt.NDArray[np.uint32]:
    return np.array(values, np.uint32)


def as_rows(pairs: Pairs) -> list[tuple[int, ...]]:
    columns = [getattr(pairs, name) for name in COLUMNS]
    assert all(column.dtype == np.uint32 for column in columns)
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


def pattern(shape: tuple[int, int, int], labels: int, step: int) -> npt.NDArray[np.uint32]:
    """A deterministic jumble with runs and background, without a random generator."""
    i = np.arange(np.prod(shape), dtype=np.uint64) // np.uint64(3)
    mixed = (i * np.uint64(2654435761) >> np.uint64(step)) % np.uint64(labels + 1)
    return mixed.astype(np.uint32).reshape(shape)


def test_every_column_of_a_small_case() -> None:
    a = volume([1, 1, 1, 0], [2, 2, 1, 0])
    b = volume([3, 3, 0, 3], [3, 1, 1, 0])
    assert as_rows(count_overlaps(a, b, sizes(10, 20), sizes(30, 40, 50))) == [
        # a  b  n  a_in b_in a_all b_all; label 2 of b doesn't occur here
        (1, 1, 1, 4, 2, 10, 30),
        (1, 3, 2, 4, 4, 10, 50),  # one voxel of 1 lies on background, one of 3 too
        (2, 1, 1, 2, 2, 20, 30),
        (2, 3, 1, 2, 4, 20, 50),
    ]


def test_no_shared_foreground() -> None:
    pairs = count_overlaps(volume([1, 1, 0]), volume([0, 0, 1]), sizes(2), sizes(1))
    assert len(pairs) == 0
    assert as_rows(pairs) == []


def test_blocks_without_labels() -> None:
    empty = np.zeros((2, 3, 4), np.uint32)
    assert len(count_overlaps(empty, empty, sizes(), sizes())) == 0


def test_slices_of_a_larger_array_count_like_copies() -> None:
    a, b = pattern((6, 9, 11), 7, 8), pattern((6, 9, 11), 5, 11)
    cut = np.s_[1:5, 2:8, 3:10]
    big = sizes(*[1000] * 7)
    views = count_overlaps(a[cut], b[cut], big, big)
    copies = count_overlaps(a[cut].copy(), b[cut].copy(), big, big)
    assert as_rows(views) == as_rows(copies)


def test_more_pairs_than_the_table_starts_with() -> None:
    n = 5 * overlap.FIRST_SLOTS
    a = np.arange(1, n + 1, dtype=np.uint32).reshape(1, 1, n)
    pairs = count_overlaps(a, a[:, :, ::-1], np.ones(n, np.uint32), np.ones(n, np.uint32))
    assert pairs.label_a.tolist() == list(range(1, n + 1))
    assert pairs.label_b.tolist() == list(range(n, 0, -1))
    assert pairs.n.tolist() == [1] * n


@pytest.mark.parametrize(("a", "b"), [(3, 1), (1, 2), (4_294_967_295, 1)])
def test_label_beyond_its_sizes(a: int, b: int) -> None:
    one, two = volume([0, a]), volume([0, b])
    with pytest.raises(BadDataError, match=rf"labels {a} and {b} at voxel \(0, 0, 1\)"):
        count_overlaps(one, two, sizes(5, 5), sizes(5))


def test_more_voxels_than_the_whole_label() -> None:
    with pytest.raises(BadDataError, match="label 1 of the second block has 3 voxels"):
        count_overlaps(volume([1, 1, 1]), volume([1, 1, 1]), sizes(3), sizes(2))


@pytest.mark.parametrize(
    "b", [np.zeros((1, 1, 2), np.uint32), np.zeros((1, 1, 3), np.uint64), np.zeros(3, np.uint32)]
)
def test_arrays_that_do_not_fit(b: Any) -> None:
    with pytest.raises(BadDataError):
        count_overlaps(volume([1, 1, 1]), b, sizes(3), sizes(2))


def test_golden() -> None:
    """If this fails, the counts changed: bump KERNEL_VERSION along with the digest."""
    a, b = pattern((9, 31, 33), 400, 7), pattern((9, 31, 33), 300, 12)
    big = np.full(400, 9000, np.uint32)
    pairs = count_overlaps(a, b, big, big)
    digest = hashlib.sha256(b"".join(getattr(pairs, name).tobytes() for name in COLUMNS))
    assert (overlap.KERNEL_VERSION, len(pairs), digest.hexdigest()[:16]) == (
        1,
        3050,
        "8a487cfc86a49997",
    )
