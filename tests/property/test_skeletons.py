"""Skeletons over any cells: trees, as many as the object has components, whose radii are never too small."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter

from magneton_tasks.kernels.skeleton.rules import Rules
from tests.kernels.skeleton.test_skeletons import BEGIN, Cuts, Numbers, check, skeletons


def objects(random: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """Noise, smooth shapes, or cubes that touch in all ways."""
    kind = random.integers(3)
    if kind == 0:
        return random.integers(0, 4, shape).astype(np.uint32)
    if kind == 1:
        smooth = gaussian_filter(random.normal(size=shape), random.uniform(0.5, 2.5))
        return np.asarray(np.digitize(smooth, [-0.05, 0.05]), np.uint32)
    coarse = random.integers(0, 5, tuple(-(-n // 5) for n in shape))
    cubes = np.kron(coarse, np.ones((5, 5, 5), np.uint32))
    return cubes[tuple(map(slice, shape))].astype(np.uint32)


def cuts_of(random: np.random.Generator, shape: tuple[int, ...]) -> Cuts:
    z, y, x = (
        tuple(sorted({int(c) for c in random.integers(1, n, random.integers(4))})) for n in shape
    )
    return z, y, x


@pytest.mark.long
@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_objects_over_any_cells(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(int(n) for n in random.integers(2, 26, 3))
    numbers = objects(random, shape)
    z, y, x = random.choice([1.0, 2.5, 8.0, 40.0], 3).tolist()
    scale, const_nm, tick_nm = (float(random.choice(c)) for c in ((0, 1.5), (0, 300), (0, 50)))
    rules = Rules((z, y, x), scale, const_nm, tick_nm)
    found = skeletons(numbers, cuts_of(random, shape), rules)
    check(numbers, found, rules)
    for number, skeleton in found.items():
        true = distance_transform_edt(np.pad(numbers == number, 1), sampling=(z, y, x))
        voxels = (skeleton.vertices_nm / (z, y, x) - 0.5).round().astype(int) - np.asarray(BEGIN)
        error = skeleton.radii_nm - true[tuple((voxels + 1).T)]
        assert np.isfinite(skeleton.radii_nm).all() and error.min() > -1e-3 * true.max()
