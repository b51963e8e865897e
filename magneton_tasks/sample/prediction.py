"""What a network would predict on the tissue: blurred, noisy, and wrong in places.

Evidence for a membrane at each edge is worked out in logit space, where faults add up:
``affinity = sigmoid(INSIDE + noise - CONTRAST * evidence)``. The faults are those that decide over
an agglomeration: gaps (membrane missing: false merges), false membranes across a neurite (false
splits) and bad sections (little contrast, much noise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from magneton_tasks.base.geometry import Size3, Vec3, vec3
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.sample.noise import lattice, value_noise
from magneton_tasks.sample.skeletons import Skeletons

Float32 = NDArray[np.float32]

#: Logit of the affinity inside of objects; 6.2 is where uint8 saturates.
_INSIDE = 7.5
#: Logits taken away by the full evidence of a membrane.
_CONTRAST = 13.5
#: Share of another direction's evidence: membranes look alike whatever edge is asked for.
_CROSS = 0.12
#: Blurred evidence below the first is nothing, above the second a full membrane.
_WEAK, _STRONG = np.float32(0.36), np.float32(0.86)
#: Blurred evidence of an edge that is cut, at least: blur alone opens membranes seen at a slant.
_CUT_AT_LEAST = np.float32(0.7)
#: Blur of the evidence, in nm; a z blur of sections this thick is a fraction of a voxel.
_BLUR_NM = (14.0, 13.0, 13.0)
#: Correlated noise: (wavelength in nm in z and in the plane, standard deviation in logits).
_NOISE = ((45.0, 40.0, 1.1), (170.0, 150.0, 1.0))
#: Murk, as of organelles: where the long noise exceeds the first (logits), times the second.
_MURK_FROM, _MURK_SLOPE = np.float32(1.0), np.float32(3.5)
#: White noise, standard deviation in logits.
_WHITE = 0.2


@dataclass(frozen=True, slots=True)
class Faults:
    """How many faults, and how bad."""

    gaps_per_um3: float = 0.95
    gap_radius_nm: tuple[float, float] = (120.0, 350.0)
    #: share of the evidence that a gap takes away at its centre
    gap_depth: tuple[float, float] = (0.3, 0.5)
    false_membranes_per_um3: float = 2.6
    false_membrane_depth: tuple[float, float] = (0.55, 1.0)
    #: one bad section in this many
    bad_section_every: int = 110
    bad_section_contrast: float = 0.6
    #: logits added to the edges in a bad section, and to those that lead into and out of it
    bad_section_shift: float = -1.5
    bad_section_z_shift: float = -5.2


FAULTS = Faults()


def predict_affinity(
    truth: NDArray[np.uint32],
    voxel_size_nm: Size3,
    skeletons: Skeletons,
    rng: np.random.Generator,
    faults: Faults = FAULTS,
) -> NDArray[np.uint8]:
    """Affinities of ``truth`` as an imperfect network would predict them.

    Returns
    -------
    uint8 (3, z, y, x)
        255 = same object; index 0 along the axis of each channel is unused (0).
    """
    shape = vec3(truth.shape)
    size = np.array(voxel_size_nm, np.float32)
    volume_um3 = truth.size * float(np.prod(size)) / 1e9
    evidence = _membrane_evidence(truth, size)
    _add_false_membranes(
        evidence, truth, size, _false_membranes(skeletons, volume_um3, faults, rng)
    )
    _open_gaps(evidence, size, _gaps(truth, size, volume_um3, faults, rng))
    bad = _bad_sections(shape[0], faults, rng)
    affinity = np.zeros((3, *truth.shape), np.uint8)
    for d in range(3):
        fields = [
            lattice(shape, (z_nm / size[0], xy_nm / size[1], xy_nm / size[2]), rng)
            * np.float32(sigma)
            for z_nm, xy_nm, sigma in _NOISE
        ]
        per_node = np.array([size / (z, xy, xy) for z, xy, _ in _NOISE], np.float32)
        white = rng.standard_normal(truth.shape, np.float32)
        contrast, shift = _by_section(bad, d, faults)
        _to_affinity(
            affinity[d], evidence[d], white, fields[0], fields[1], per_node, contrast, shift
        )
        first = [slice(None)] * 3
        first[d] = slice(0, 1)
        affinity[d][tuple(first)] = 0
    return affinity


def _membrane_evidence(truth: NDArray[np.uint32], size: Float32) -> Float32:
    """float32 (3, z, y, x), about 1 on a membrane that crosses the edge, 0 inside of objects."""
    blurred = np.empty((3, *truth.shape), np.float32)
    sigma = np.array(_BLUR_NM) / size
    for d in range(3):
        edges = _cut_edges(truth, d)
        ndimage.gaussian_filter(edges, sigma, output=blurred[d], truncate=2.5, mode="nearest")
        # A flat membrane across the axis reaches the kernel's peak, not 1.
        blurred[d] *= np.float32(max(1.0, 1.2 * sigma[d] * np.sqrt(2 * np.pi)))
        np.maximum(blurred[d], _CUT_AT_LEAST * edges, out=blurred[d])
    _cross(blurred, np.float32(_CROSS))
    return blurred


def _cut_edges(truth: NDArray[np.uint32], axis: int) -> Float32:
    """1 where a voxel and the one before it aren't the same object (or aren't labelled)."""
    edges = np.zeros(truth.shape, np.float32)
    here, before = [slice(None)] * 3, [slice(None)] * 3
    here[axis], before[axis] = slice(1, None), slice(None, -1)
    a, b = truth[tuple(here)], truth[tuple(before)]
    edges[tuple(here)] = (a != b) | (a == 0)
    return edges


@njit(nogil=True, inline="always")
def _sharpened(evidence: np.float32) -> np.float32:
    """0 below `_WEAK`, 1 above `_STRONG`, smooth between: keeps the rims of objects clean."""
    t = min(max((evidence - _WEAK) / (_STRONG - _WEAK), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@njit(nogil=True)
def _cross(evidence: Float32, cross: np.float32) -> None:
    """Sharpen the evidence and let each direction see the others', in place."""
    for z in range(evidence.shape[1]):
        for y in range(evidence.shape[2]):
            for x in range(evidence.shape[3]):
                ez = _sharpened(evidence[0, z, y, x])
                ey = _sharpened(evidence[1, z, y, x])
                ex = _sharpened(evidence[2, z, y, x])
                evidence[0, z, y, x] = min(ez + cross * max(ey, ex), np.float32(1.0))
                evidence[1, z, y, x] = min(ey + cross * max(ez, ex), np.float32(1.0))
                evidence[2, z, y, x] = min(ex + cross * max(ez, ey), np.float32(1.0))


def _false_membranes(
    skeletons: Skeletons, volume_um3: float, faults: Faults, rng: np.random.Generator
) -> Float32:
    """float32 (n, 8): centre (nm), normal, radius (nm), depth."""
    n = round(faults.false_membranes_per_um3 * volume_um3)
    chosen = rng.integers(len(skeletons.radius), size=n)
    normal = skeletons.direction[chosen] + 0.2 * rng.standard_normal((n, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    radius = 1.6 * skeletons.radius[chosen] + 60.0
    depth = rng.uniform(*faults.false_membrane_depth, size=n)
    discs = np.column_stack([skeletons.position[chosen], normal, radius, depth])
    return discs.astype(np.float32)


@njit(nogil=True)
def _add_false_membranes(
    evidence: Float32, truth: NDArray[np.uint32], size: Float32, discs: Float32
) -> None:
    """Discs of evidence across one object each."""
    for k in range(len(discs)):
        centre, normal, radius, depth = discs[k, :3], discs[k, 3:6], discs[k, 6], discs[k, 7]
        low, high = _ball_box(evidence.shape[1:], size, centre, radius)
        owner = truth[int(centre[0] / size[0]), int(centre[1] / size[1]), int(centre[2] / size[2])]
        for z in range(low[0], high[0]):
            dz = (z + 0.5) * size[0] - centre[0]
            for y in range(low[1], high[1]):
                dy = (y + 0.5) * size[1] - centre[1]
                for x in range(low[2], high[2]):
                    dx = (x + 0.5) * size[2] - centre[2]
                    if truth[z, y, x] != owner or dz * dz + dy * dy + dx * dx > radius * radius:
                        continue
                    height = dz * normal[0] + dy * normal[1] + dx * normal[2]
                    added = depth * np.exp(-((height / 32.0) ** 2))
                    for d in range(3):
                        # Edges along the disc feel it less than those through it.
                        through = 0.5 + 0.5 * abs(normal[d])
                        evidence[d, z, y, x] = min(
                            evidence[d, z, y, x] + added * through, np.float32(1.0)
                        )


def _gaps(
    truth: NDArray[np.uint32],
    size: Float32,
    volume_um3: float,
    faults: Faults,
    rng: np.random.Generator,
) -> Float32:
    """float32 (n, 5): centre (nm) on a membrane, radius (nm), depth."""
    n = round(faults.gaps_per_um3 * volume_um3)
    where = rng.integers(1, truth.shape, size=(40 * n + 40, 3))
    step = np.eye(3, dtype=np.int64)[rng.integers(3, size=len(where))]
    here, beside = truth[tuple(where.T)], truth[tuple((where - step).T)]
    where = where[(here != beside) & (here != 0) & (beside != 0)][:n]
    radius = rng.uniform(*faults.gap_radius_nm, size=len(where))
    depth = rng.uniform(*faults.gap_depth, size=len(where))
    return np.column_stack([where * size, radius, depth]).astype(np.float32)


@njit(nogil=True)
def _open_gaps(evidence: Float32, size: Float32, gaps: Float32) -> None:
    """Take the evidence away within balls, softly at their surface."""
    for k in range(len(gaps)):
        centre, radius, depth = gaps[k, :3], gaps[k, 3], gaps[k, 4]
        low, high = _ball_box(evidence.shape[1:], size, centre, 1.3 * radius)
        for z in range(low[0], high[0]):
            dz = (z + 0.5) * size[0] - centre[0]
            for y in range(low[1], high[1]):
                dy = (y + 0.5) * size[1] - centre[1]
                for x in range(low[2], high[2]):
                    dx = (x + 0.5) * size[2] - centre[2]
                    far = np.sqrt(dz * dz + dy * dy + dx * dx) / radius
                    kept = 1.0 - depth * min(max((1.3 - far) / 0.6, 0.0), 1.0)
                    for d in range(3):
                        evidence[d, z, y, x] *= np.float32(kept)


@njit(nogil=True)
def _ball_box(
    shape: Vec3, size: Float32, centre: Float32, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for i in range(3):
        low[i] = max(int((centre[i] - radius) / size[i]), 0)
        high[i] = min(int((centre[i] + radius) / size[i]) + 1, shape[i])
    return low, high


def _bad_sections(sections: int, faults: Faults, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which sections are bad, bool (z,): one in each stretch, one at least, none at an end."""
    bad = np.zeros(sections, bool)
    n = max(1, round(sections / faults.bad_section_every))
    for k in range(n):
        bad[int((k + rng.uniform(0.3, 0.7)) * sections / n)] = True
    return bad


def _by_section(
    bad: NDArray[np.bool_], d: int, faults: Faults
) -> tuple[NDArray[np.float32], Float32]:
    """Contrast and inside logit of each section for channel d, float32 (z,) each."""
    shift = np.where(bad, faults.bad_section_shift, 0.0)
    if d == 0:
        shift = np.where(bad | np.roll(bad, 1), faults.bad_section_z_shift, 0.0)
    contrast = np.where(bad, _CONTRAST * faults.bad_section_contrast, _CONTRAST)
    return contrast.astype(np.float32), (_INSIDE + shift).astype(np.float32)


@njit(nogil=True)
def _to_affinity(
    affinity: NDArray[np.uint8],
    evidence: Float32,
    white: Float32,
    fine: Float32,
    coarse: Float32,
    per_node: Float32,
    contrast: Float32,
    inside: Float32,
) -> None:
    for z in range(affinity.shape[0]):
        for y in range(affinity.shape[1]):
            for x in range(affinity.shape[2]):
                noise = np.float32(_WHITE) * white[z, y, x]
                noise += value_noise(
                    fine, z * per_node[0, 0], y * per_node[0, 1], x * per_node[0, 2]
                )
                long = value_noise(
                    coarse, z * per_node[1, 0], y * per_node[1, 1], x * per_node[1, 2]
                )
                noise += long - _MURK_SLOPE * max(long - _MURK_FROM, np.float32(0.0))
                logit = inside[z] + noise - contrast[z] * evidence[z, y, x]
                affinity[z, y, x] = np.uint8(
                    np.float32(255.0) / (np.float32(1.0) + np.exp(-logit)) + np.float32(0.5)
                )
