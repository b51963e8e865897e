"""Meshes of several levels of detail, ``neuroglancer_multilod_draco``: manifests and fragments.

A mesh lies in nodes of an octree, each of which has a fragment per level that it meets::

    lod 0   nodes of chunk_shape         node (x, y, z): grid_origin + chunk_shape * (x, y, z), ...
    lod 1   nodes twice as long          node (x // 2, y // 2, z // 2)
    ...

A manifest says which nodes there are, by level, and how many bytes the fragment of each has. Fragments
hold triangles whose corners are whole numbers from 0 to 2**bits - 1 along the node. From level 1 on no
triangle crosses the middle of its node, which is 2**(bits - 1).

All x come before y before z. The format:
https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import DracoPy
import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.failures import telling
from magneton_tasks.base.geometry import Size3
from magneton_tasks.errors import BadDataError

#: The folder, beside the ``info`` of the segmentation, which names it.
FOLDER = "mesh"
TYPE = "neuroglancer_multilod_draco"

#: (x, y, z)
Triple = tuple[float, float, float]
Positions = NDArray[np.int64]

#: Of Draco: pub128 at mip 2 takes .40 us and .70 bytes a face at 1, .48 us and .48 bytes at 7.
_LEVEL = 7
#: What has more levels, or fragments, is damage.
_MOST_LODS = 32


@dataclass(frozen=True)
class Manifest:
    """Which fragments a mesh has.

    Attributes
    ----------
    chunk_shape
        Of a node of level 0, as stored: in voxels of the mip.
    grid_origin
        Where node (0, 0, 0) begins.
    lod_scales
        How fine each level is, as stored; not falling.
    positions
        Of each level int64 (n, 3): nodes (x, y, z), in Morton order.
    sizes
        Of each level int64 (n,): bytes of each fragment; 0: there is nothing in it.
    """

    chunk_shape: Triple
    grid_origin: Triple
    lod_scales: tuple[float, ...]
    positions: tuple[Positions, ...]
    sizes: tuple[NDArray[np.int64], ...]

    @property
    def lods(self) -> int:
        """How many levels there are."""
        return len(self.lod_scales)

    @property
    def data_bytes(self) -> int:
        """Of all fragments; they stand before the manifest."""
        return sum(int(sizes.sum()) for sizes in self.sizes)

    def encode(self) -> bytes:
        """The stored form."""
        counts = [len(sizes) for sizes in self.sizes]
        head = [
            np.array([*self.chunk_shape, *self.grid_origin], "<f4"),
            np.array([self.lods], "<u4"),
            np.array(self.lod_scales, "<f4"),
            np.zeros((self.lods, 3), "<f4"),  # vertex_offsets
            np.array(counts, "<u4"),
        ]
        levels = zip(self.positions, self.sizes, strict=True)
        rows = [a for at, sizes in levels for a in (at.T.astype("<u4"), sizes.astype("<u4"))]
        return b"".join(array.tobytes() for array in [*head, *rows])

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Of its stored form.

        Raises
        ------
        BadDataError
            It is cut off, or isn't one.
        """
        words, numbers = _words(data, "<u4"), _words(data, "<f4")
        lods = int(words[6]) if len(words) > 6 else 0
        if not 0 < lods <= _MOST_LODS or len(words) < 7 + 5 * lods:
            raise BadDataError(f"a manifest of {len(data)} bytes and {lods} levels of detail")
        at = 7 + 5 * lods
        counts = words[at - lods : at].tolist()
        if len(data) != 28 + 20 * lods + 16 * sum(counts):
            raise BadDataError(
                f"a manifest of {len(data)} bytes that tells of {sum(counts)} fragments"
            )
        positions, sizes = [], []
        for count in counts:
            positions.append(words[at : at + 3 * count].reshape(3, count).T.astype(np.int64))
            sizes.append(words[at + 3 * count : at + 4 * count].astype(np.int64))
            at += 4 * count
        x, y, z, ox, oy, oz, *_ = map(float, numbers[:6])
        scales = tuple(map(float, numbers[7 : 7 + lods]))
        return cls((x, y, z), (ox, oy, oz), scales, tuple(positions), tuple(sizes))

    def problems(self) -> list[str]:
        """What a reader would stumble over: fragments out of order, or without a parent."""
        found = []
        for lod, at in enumerate(self.positions):
            codes = morton(at)
            if (codes[1:] <= codes[:-1]).any():
                found.append(f"level {lod}: fragments aren't in Morton order")
            if lod + 1 < self.lods:
                parents = morton(at >> 1)
                lost = ~np.isin(parents, morton(self.positions[lod + 1]))
                if lost.any():
                    found.append(f"level {lod}: {int(lost.sum())} fragments without a parent")
        return found


def _words(data: bytes, dtype: str) -> NDArray[Any]:
    return np.frombuffer(data, dtype, len(data) // 4)


def morton(positions: Positions) -> NDArray[np.uint64]:
    """Codes of nodes (n, 3), uint64 (n,): bit 0 of x, of y, of z, bit 1 of x, ... ; 21 bits of each."""
    code = np.zeros(len(positions), np.uint64)
    for axis in range(3):
        bits = positions[:, axis].astype(np.uint64) & np.uint64(0x1FFFFF)
        for shift, mask in _SPREAD:
            bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
        code |= bits << np.uint64(axis)
    return code


#: Two free bits after each bit, in five steps.
_SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def info(voxel_size_nm: Size3, bits: int, sharding: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the folder's ``info``, for meshes that are stored in voxels.

    Parameters
    ----------
    voxel_size_nm
        (z, y, x), of the mip that they are of.
    bits
        Of a corner along its node: 10 or 16.
    """
    z, y, x = voxel_size_nm
    return {
        "@type": TYPE,
        "vertex_quantization_bits": bits,
        "transform": [x, 0, 0, 0, 0, y, 0, 0, 0, 0, z, 0],
        "lod_scale_multiplier": 1,
        "sharding": dict(sharding),
    }


def quantised(offsets: NDArray[np.floating[Any]], bits: int) -> NDArray[np.float32]:
    """Corners (n, 3), 0 to 1 along their node, as whole numbers; the middle is 2**(bits - 1)."""
    most = 2**bits - 1
    steps: NDArray[np.float32] = np.clip(np.rint(offsets * most), 0, most).astype(np.float32)
    return steps


def encode_fragments(
    corners: NDArray[np.float32],
    faces: NDArray[np.int32],
    vertex_starts: NDArray[np.int64],
    face_starts: NDArray[np.int64],
    bits: int,
) -> list[bytes]:
    """The bytes of fragments of several objects; none where no triangle has three corners.

    Parameters
    ----------
    corners
        float32 (n, 3), x, y, z: whole numbers as `quantised` makes them, object after object.
    faces
        int32 (m, 3): places in ``corners``.
    vertex_starts, face_starts
        int64 (k + 1,): where those of each object begin.
    """
    a, b, c = (corners[faces[:, k]] for k in range(3))
    # Draco refuses a mesh of nothing else
    flat = (a == b).all(1) | (b == c).all(1) | (a == c).all(1)
    solid = np.concatenate([np.zeros(1, np.int64), np.cumsum(~flat)])[face_starts]
    found = []
    for k, any_solid in enumerate((np.diff(solid) > 0).tolist()):
        begin, end = int(vertex_starts[k]), int(vertex_starts[k + 1])
        some = faces[face_starts[k] : face_starts[k + 1]] - np.int32(begin)
        found.append(_encode(corners[begin:end], some, bits) if any_solid else b"")
    return found


def encode_fragment(corners: NDArray[np.float32], faces: NDArray[np.int32], bits: int) -> bytes:
    """The bytes of one fragment, as `encode_fragments`."""
    ends = [np.array([0, len(a)], np.int64) for a in (corners, faces)]
    return encode_fragments(corners, faces, ends[0], ends[1], bits)[0]


def _encode(corners: NDArray[np.float32], faces: NDArray[np.int32], bits: int) -> bytes:
    data: bytes = DracoPy.encode(
        corners,
        faces.astype(np.uint32),
        quantization_bits=bits,
        # Neuroglancer leaves out what undoes Draco's own quantisation, and cloud-volume doesn't:
        # so it has to change nothing.
        quantization_range=2**bits - 1,
        quantization_origin=[0, 0, 0],
        compression_level=_LEVEL,
    )
    return data


def decode_fragment(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners int64 (n, 3), x, y, z, and faces int64 (m, 3) of a fragment.

    Raises
    ------
    BadDataError
        It isn't one.
    """
    if not data:
        return np.empty((0, 3), np.int64), np.empty((0, 3), np.int64)
    with telling("a fragment of a mesh can't be decoded", decodes=True):
        try:
            mesh = DracoPy.decode(data)
        except DracoPy.FileTypeException as error:
            raise ValueError(str(error)) from error
        corners = np.asarray(mesh.points)
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
    return np.rint(corners).astype(np.int64).reshape(-1, 3), faces


def concatenated(
    meshes: Sequence[tuple[NDArray[Any], NDArray[np.int64]]],
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Meshes as one; equal points stay apart."""
    starts = np.cumsum([0, *(len(points) for points, _ in meshes)])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    if not meshes:
        return np.empty((0, 3)), np.empty((0, 3), np.int64)
    return np.concatenate([points for points, _ in meshes]), np.concatenate(faces)
