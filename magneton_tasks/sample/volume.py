"""A sample volume: made-up tissue, its true objects, and an imperfect affinity map of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.errors import UsageError
from magneton_tasks.sample.prediction import predict_affinity
from magneton_tasks.sample.skeletons import grow_skeletons
from magneton_tasks.sample.tissue import fill_tissue

#: Smaller volumes hold no tissue worth the name.
MIN_SHAPE: Vec3 = (32, 64, 64)
#: Serial sections, at half of the usual 8 nm in the plane: a neurite is 10 to 50 voxels wide.
VOXEL_SIZE_NM: Size3 = (40.0, 16.0, 16.0)
#: Not zero, and no multiple of a chunk size, since real cut-outs aren't.
VOXEL_OFFSET: Vec3 = (100, 2000, 3000)


@dataclass(frozen=True, slots=True)
class SampleVolume:
    """A sample and its truth; arrays zyx.

    Attributes
    ----------
    affinity
        uint8 (3, z, y, x), 255 = same object; ``affinity[d][v]`` joins v and v - e_d.
    truth
        uint32 (z, y, x): objects 1..n, each one connected component; 0 = not labelled.
    voxel_size_nm, voxel_offset
        Per axis, zyx; the offset in voxels.
    """

    affinity: NDArray[np.uint8]
    truth: NDArray[np.uint32]
    voxel_size_nm: Size3
    voxel_offset: Vec3


def make_sample(shape: Vec3 = (256, 256, 256), seed: int = 0) -> SampleVolume:
    """Make a sample of ``shape`` voxels; the same shape and seed make the same sample.

    Raises
    ------
    UsageError
        The shape is smaller than `MIN_SHAPE`, or the seed is negative.
    """
    check_sample_parameters(shape, seed)
    rng = np.random.default_rng(seed)
    skeletons = grow_skeletons(np.array(shape) * np.array(VOXEL_SIZE_NM), rng)
    truth = fill_tissue(shape, VOXEL_SIZE_NM, skeletons, rng)
    affinity = predict_affinity(truth, VOXEL_SIZE_NM, skeletons, rng)
    return SampleVolume(affinity, truth, VOXEL_SIZE_NM, VOXEL_OFFSET)


def check_sample_parameters(shape: Vec3, seed: int) -> None:
    """Raise UsageError where `make_sample` would."""
    if any(n < least for n, least in zip(shape, MIN_SHAPE, strict=True)):
        raise UsageError(
            f"a sample of {shape} voxels is too small",
            f"make it at least {MIN_SHAPE} (z, y, x)",
        )
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative", "take 0 or more")
