"""Factors of the mips, and that plan can have them without numpy."""

from __future__ import annotations

import subprocess
import sys
from math import sqrt

import pytest

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.errors import ConfigError
from magneton_tasks.plan.mips import mip_factors

PLANE = (1, 2, 2)
ALL = (2, 2, 2)


@pytest.mark.parametrize(
    ("voxel_size_nm", "expected"),
    [
        ((8, 8, 8), [ALL, ALL, ALL, ALL]),
        ((40, 8, 8), [PLANE, PLANE, ALL, ALL]),  # 40x32x32 is near enough to isotropic
        ((30, 8, 8), [PLANE, PLANE, ALL, ALL]),  # 30x16x16 isn't: 1.9; 30x32x32 is, z the finest
        ((40, 4, 4), [PLANE, PLANE, PLANE, ALL]),
        ((33, 4, 4), [PLANE, PLANE, PLANE, ALL]),
        ((8, 8, 40), [(2, 2, 1), (2, 2, 1), ALL, ALL]),  # no axis is special
        ((16, 8, 4), [(1, 1, 2), PLANE, ALL, ALL]),
        ((11, 8, 8), [ALL, ALL, ALL, ALL]),  # 1.375 < sqrt(2)
        ((12, 8, 8), [PLANE, ALL, ALL, ALL]),  # 1.5 > sqrt(2)
    ],
)
def test_factors_follow_the_voxel_size(voxel_size_nm: Size3, expected: list[Vec3]) -> None:
    assert mip_factors(voxel_size_nm, 4) == expected


@pytest.mark.parametrize("voxel_size_nm", [(40, 8, 8), (33, 4, 4), (5.5, 100, 7), (1, 2, 3)])
def test_ends_nearly_isotropic_and_stays_so(voxel_size_nm: Size3) -> None:
    factors = mip_factors(voxel_size_nm, 12)
    sizes = list(voxel_size_nm)
    for factor in factors:
        sizes = [s * f for s, f in zip(sizes, factor, strict=True)]
    assert max(sizes) / min(sizes) <= sqrt(2)
    assert factors[-1] == ALL


def test_no_mips() -> None:
    assert mip_factors((40, 8, 8), 0) == []


@pytest.mark.parametrize("voxel_size_nm", [(0, 8, 8), (40, -8, 8), (float("nan"), 8, 8)])
def test_impossible_voxel_size(voxel_size_nm: Size3) -> None:
    with pytest.raises(ConfigError, match="voxel size"):
        mip_factors(voxel_size_nm, 1)


def test_negative_number_of_mips() -> None:
    with pytest.raises(ConfigError, match="-1"):
        mip_factors((8, 8, 8), -1)


def test_is_light() -> None:
    code = "import sys, magneton_tasks.plan.mips; print('numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "False"
