"""Small affinity maps of every kind that is hard on a block border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from magneton_tasks.base.geometry import Vec3

KINDS = (
    "constant",  # one affinity everywhere: all scores tie
    "saturated",  # everything joins at once
    "zero",  # all background
    "noise",
    "few",  # four values: ties, holes and saturation
    "two",  # two neighbouring values: ties, and means that differ by a little
    "smooth",
    "cells",  # flat insides, thin walls
    "coarse",  # smooth, in eight steps
)


def volume(kind: str, shape: Vec3, seed: int) -> NDArray[np.uint8]:
    """An affinity map uint8 (3, z, y, x) of one of the `KINDS`; no edge is left out at its low faces."""
    full = (3, *shape)
    flat = {"constant": 128, "saturated": 255, "zero": 0}
    if kind in flat:
        return np.full(full, flat[kind], np.uint8)
    random = np.random.default_rng(seed)
    if kind == "noise":
        return random.integers(0, 256, full, dtype=np.uint8)
    if kind == "few":
        return (random.integers(0, 4, full) * 85).astype(np.uint8)
    if kind == "two":
        return (random.integers(0, 2, full) + 127).astype(np.uint8)
    return _smooth(random.random(full), kind)


def _smooth(values: NDArray[np.float64], kind: str) -> NDArray[np.uint8]:
    smooth = np.stack([gaussian_filter(channel, 1.2) for channel in values])
    smooth -= smooth.min()
    smooth /= smooth.max() or 1.0  # one voxel may be all there is
    if kind == "cells":
        smooth = np.clip((smooth - 0.35) * 4, 0, 1)
    steps = {"smooth": 255, "cells": 255, "coarse": 7}[kind]
    quantised: NDArray[np.uint8] = (np.rint(smooth * steps) * (255 // steps)).astype(np.uint8)
    return quantised
