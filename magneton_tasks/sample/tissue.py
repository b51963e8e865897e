"""From skeletons to labelled tissue: every neurite swells until it meets its neighbours.

A voxel belongs to the skeleton point with the smallest power distance, |v - p|^2 - radius^2 (F.
Aurenhammer, SIAM J. Comput. 16 (1987)), found by vector propagation: voxels adopt the best point of
their neighbours in sweeps over the volume (P.-E. Danielsson, Comput. Graph. Image Process. 14
(1980)). Positions are warped by smooth noise first, which makes membranes wavy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Size3, Vec3
from magneton_tasks.kernels.compiled.jit import njit
from magneton_tasks.sample.noise import lattice, value_noise
from magneton_tasks.sample.skeletons import Skeletons

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt32 = NDArray[np.uint32]

#: Wavelength and amplitude of the warp, in nm.
_WARP_NM = 260.0
_WARP_AMPLITUDE_NM = 40.0
#: Misalignment between sections, in nm.
_JITTER_NM = 5.0
#: Space farther than this from every neurite's surface is extracellular, in nm.
_EXTRACELLULAR_NM = 150.0
#: Pieces of fewer voxels are no objects: they stay unlabelled.
_MIN_OBJECT_VOX = 60


def fill_tissue(
    shape: Vec3, voxel_size_nm: Size3, skeletons: Skeletons, rng: np.random.Generator
) -> NDArray[np.uint32]:
    """Truth labels 1..n, each one connected component (by faces); 0 is not labelled.

    Returns
    -------
    uint32 (z, y, x)
    """
    size = np.array(voxel_size_nm, np.float32)
    points = np.column_stack([skeletons.position, skeletons.radius]).astype(np.float32)
    z, y, x = voxel_size_nm
    spacing = _WARP_NM / z, _WARP_NM / y, _WARP_NM / x
    warp = np.stack([lattice(shape, spacing, rng) for _ in range(3)])
    jitter = (rng.standard_normal((shape[0], 2)) * _JITTER_NM).astype(np.float32)
    warped = _warped_positions(shape, size, warp * np.float32(_WARP_AMPLITUDE_NM / 1.8), jitter)
    nearest = np.full(shape, -1, np.int32)
    _plant(nearest, warped, points, size)
    for _ in range(2):
        _sweep(nearest, warped, points)
    owners = _owners(nearest, warped, points, skeletons.neurite)
    return connected_pieces(owners, _MIN_OBJECT_VOX)


@njit(nogil=True)
def _warped_positions(shape: Vec3, size: Float32, warp: Float32, jitter: Float32) -> Float32:
    """float32 (z, y, x, 3): where in the tissue each voxel looks, in nm."""
    out = np.empty((shape[0], shape[1], shape[2], 3), np.float32)
    per_node = size / np.float32(_WARP_NM)
    for z in range(shape[0]):
        for y in range(shape[1]):
            for x in range(shape[2]):
                nz, ny, nx = z * per_node[0], y * per_node[1], x * per_node[2]
                out[z, y, x, 0] = (z + 0.5) * size[0] + value_noise(warp[0], nz, ny, nx)
                out[z, y, x, 1] = (
                    (y + 0.5) * size[1] + jitter[z, 0] + value_noise(warp[1], nz, ny, nx)
                )
                out[z, y, x, 2] = (
                    (x + 0.5) * size[2] + jitter[z, 1] + value_noise(warp[2], nz, ny, nx)
                )
    return out


@njit(nogil=True, inline="always")
def _power(at: Float32, point: Float32) -> np.float32:
    """Squared distance to a point (z, y, x, radius) less its squared radius, in nm^2."""
    dz, dy, dx = at[0] - point[0], at[1] - point[1], at[2] - point[2]
    return np.float32(dz * dz + dy * dy + dx * dx - point[3] * point[3])


@njit(nogil=True)
def _plant(nearest: Int32, warped: Float32, points: Float32, size: Float32) -> None:
    """Each point takes the voxel that it lies in, where no better point has it."""
    for k in range(len(points)):
        z = min(int(points[k, 0] / size[0]), nearest.shape[0] - 1)
        y = min(int(points[k, 1] / size[1]), nearest.shape[1] - 1)
        x = min(int(points[k, 2] / size[2]), nearest.shape[2] - 1)
        old, at = nearest[z, y, x], warped[z, y, x]
        if old < 0 or _power(at, points[k]) < _power(at, points[old]):
            nearest[z, y, x] = k


@njit(nogil=True, inline="always")
def _adopt(
    nearest: Int32,
    warped: Float32,
    points: Float32,
    voxel: Vec3,
    offset: Vec3,
    best: np.int32,
    best_power: np.float32,
) -> tuple[np.int32, np.float32]:
    """The better of ``best`` and the point of the neighbour at ``voxel + offset``."""
    z, y, x = voxel
    nz, ny, nx = z + offset[0], y + offset[1], x + offset[2]
    shape = nearest.shape
    if 0 <= nz < shape[0] and 0 <= ny < shape[1] and 0 <= nx < shape[2]:
        other = nearest[nz, ny, nx]
        if other >= 0 and other != best:
            power = _power(warped[z, y, x], points[other])
            if power < best_power:
                return other, power
    return best, best_power


@njit(nogil=True)
def _sweep(nearest: Int32, warped: Float32, points: Float32) -> None:
    """One pass forward and one backward over the volume."""
    nz, ny, nx = nearest.shape
    for way in (1, -1):
        for iz in range(nz):
            z = iz if way == 1 else nz - 1 - iz
            for iy in range(ny):
                y = iy if way == 1 else ny - 1 - iy
                for turn in (1, -1):
                    for ix in range(nx):
                        x = ix if turn == 1 else nx - 1 - ix
                        best = nearest[z, y, x]
                        power = np.float32(np.inf)
                        if best >= 0:
                            power = _power(warped[z, y, x], points[best])
                        v = (z, y, x)
                        best, power = _adopt(nearest, warped, points, v, (0, 0, -turn), best, power)
                        if turn == 1:
                            best, power = _adopt(
                                nearest, warped, points, v, (-way, 0, 0), best, power
                            )
                            best, power = _adopt(
                                nearest, warped, points, v, (0, -way, 0), best, power
                            )
                        nearest[z, y, x] = best


@njit(nogil=True)
def _owners(nearest: Int32, warped: Float32, points: Float32, neurite: Int32) -> UInt32:
    """uint32 (z, y, x): the neurite of each voxel, 0 where all surfaces are far."""
    out = np.zeros(nearest.shape, np.uint32)
    nz, ny, nx = nearest.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                k = nearest[z, y, x]
                if k >= 0:
                    far = points[k, 3] + _EXTRACELLULAR_NM
                    if _power(warped[z, y, x], points[k]) + points[k, 3] ** 2 < far * far:
                        out[z, y, x] = neurite[k]
    return out


@njit(nogil=True, inline="always")
def _root(parent: NDArray[np.int64], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return int(i)


@njit(nogil=True)
def _join_equal(labels: UInt32, parent: NDArray[np.int64]) -> None:
    """Union of voxels with equal labels that share a face; the root is the first voxel."""
    nz, ny, nx = labels.shape
    i = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                parent[i] = i
                label = labels[z, y, x]
                if label != 0:
                    if x > 0 and labels[z, y, x - 1] == label:
                        parent[i] = _root(parent, i - 1)
                    if y > 0 and labels[z, y - 1, x] == label:
                        a, b = _root(parent, i), _root(parent, i - nx)
                        parent[max(a, b)] = min(a, b)
                    if z > 0 and labels[z - 1, y, x] == label:
                        a, b = _root(parent, i), _root(parent, i - nx * ny)
                        parent[max(a, b)] = min(a, b)
                i += 1


@njit(nogil=True)
def connected_pieces(labels: UInt32, min_vox: int) -> UInt32:
    """Each face-connected piece gets a label of its own, 1..n in raster order of first voxels.

    Parameters
    ----------
    labels
        uint32 (z, y, x); 0 stays 0.
    min_vox
        Smaller pieces become 0.
    """
    parent = np.empty(labels.size, np.int64)
    _join_equal(labels, parent)
    flat = labels.reshape(-1)
    n_vox = np.zeros(labels.size, np.int32)
    for i in range(flat.size):
        parent[i] = _root(parent, i)
        n_vox[parent[i]] += 1
    out = np.zeros(flat.size, np.uint32)
    n_labels = 0
    for i in range(flat.size):
        if flat[i] != 0 and n_vox[parent[i]] >= min_vox:
            if parent[i] == i:
                n_labels += 1
                out[i] = n_labels
            else:
                out[i] = out[parent[i]]
    return out.reshape(labels.shape)
