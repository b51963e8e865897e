"""Columns come back from their byte planes as they were, and take as few bytes as they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from magneton_tasks.kernels.byte_planes import measure, merge, split, whole_numbers
from tests.helpers.examples import examples

DTYPES = (np.uint8, np.bool_, np.uint32, np.int64, np.uint64)


def there_and_back(column: NDArray[Any]) -> int:
    """Bytes a row."""
    values = whole_numbers(column)
    base, size, steps = measure(values)
    planes = np.full((size, values.size), 255, np.uint8)
    split(values, int(base), bool(steps), planes)
    planes.flags.writeable = False  # as those of a file
    found = np.full_like(column, 1)
    merge(planes, int(base), bool(steps), whole_numbers(found))
    np.testing.assert_array_equal(found, column)
    return int(size)


@examples(30, 1000)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), is_sorted=st.booleans())
def test_any_numbers_come_back(data: st.DataObject, dtype: Any, is_sorted: bool) -> None:
    kind = np.dtype(dtype)
    least, most = (0, 1) if kind == np.bool_ else (np.iinfo(kind).min, np.iinfo(kind).max)
    few = data.draw(st.lists(st.integers(int(least), int(most)), min_size=1, max_size=5))
    rows = data.draw(st.sampled_from([len(few), 2047, 2049, 5000]))  # 2,048 are worked at a time
    column = np.resize(np.array(few, kind), rows)
    assert there_and_back(np.sort(column) if is_sorted else column) <= kind.itemsize


@pytest.mark.parametrize(
    ("column", "size"),
    [
        (np.full(9, 7 << 40), 0),
        ((5 << 32) + np.arange(3000), 1),  # names of a block
        (np.array([1 << 40, (1 << 40) - 200, (1 << 40) - 3]), 1),
        (np.array([0, 256, 0]), 2),
        (np.array([-1, 1 << 62, 5]), 8),
        (np.array([2**64 - 1, 2**64 - 3], np.uint64), 1),
        (np.array([False, True, False]), 1),
    ],
)
def test_a_row_takes_no_more_bytes_than_its_numbers_differ(column: Any, size: int) -> None:
    assert there_and_back(column) == size
