"""Manifests and fragments of meshes, byte by byte."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.errors import BadDataError, NoInputError
from magneton_tasks.formats.precomputed.mesh_reader import MeshReader
from magneton_tasks.formats.precomputed.meshes import (
    Manifest,
    decode_fragment,
    encode_fragment,
    info,
    morton,
    quantised,
)

TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)


def manifest(*positions: list[list[int]]) -> Manifest:
    at = tuple(np.array(p, np.int64).reshape(-1, 3) for p in positions)
    sizes = tuple(np.arange(len(p), dtype=np.int64) + 7 for p in positions)
    scales = tuple(2.0**k for k in range(len(positions)))
    return Manifest((64.0, 32.0, 16.0), (0.5, 0.5, -7.5), scales, at, sizes)


def test_a_manifest_is_laid_out_as_the_format_has_it() -> None:
    made = manifest([[0, 0, 0], [3, 1, 2]], [[0, 0, 0], [1, 0, 1]])
    data = made.encode()
    assert len(data) == 28 + 20 * 2 + 16 * 4
    assert struct.unpack_from("<6fI2f", data) == (64, 32, 16, 0.5, 0.5, -7.5, 2, 1, 2)
    assert struct.unpack_from("<6f2I", data, 36) == (0,) * 6 + (2, 2)
    # of each level all x, all y, all z, then sizes
    assert struct.unpack_from("<8I", data, 68) == (0, 3, 0, 1, 0, 2, 7, 8)
    assert struct.unpack_from("<8I", data, 100) == (0, 1, 0, 0, 0, 1, 7, 8)
    again = Manifest.decode(data)
    assert again.encode() == data
    assert again.lods == 2
    assert again.data_bytes == 30
    assert again.problems() == []


def test_what_readers_stumble_over_is_told() -> None:
    (order,) = manifest([[1, 0, 0], [0, 0, 0]]).problems()
    assert "order" in order
    (parent,) = manifest([[0, 0, 0], [2, 0, 0]], [[0, 0, 0]]).problems()
    assert "1 fragments without a parent" in parent


@pytest.mark.parametrize("size", [0, 20, 28, 60, 131, 133])
def test_a_manifest_that_is_cut_off_is_refused(size: int) -> None:
    data = manifest([[0, 0, 0], [3, 1, 2]], [[0, 0, 0], [1, 0, 1]]).encode() + bytes(4)
    with pytest.raises(BadDataError, match=f"a manifest of {size} bytes"):
        Manifest.decode(data[:size])


def test_nodes_are_in_z_order() -> None:
    at = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0], [2**20, 3, 5]], np.int64)
    codes = [1, 2, 4, 8, 1 << 60 | 0b111 ^ 0b001 ^ 0b000 | 0]
    assert morton(at[:4]).tolist() == codes[:4]
    x, y, z = at[4].tolist()
    assert int(morton(at[4:])[0]) == sum(
        (v >> bit & 1) << 3 * bit + axis for axis, v in enumerate((x, y, z)) for bit in range(21)
    )


@pytest.mark.parametrize("bits", [10, 16])
def test_corners_come_back_as_they_are(bits: int) -> None:
    most = 2**bits - 1
    assert quantised(np.array([[0.0, 0.5, 1.0]]), bits).tolist() == [[0, 2 ** (bits - 1), most]]
    corners = np.array([[0, 0, 0], [most, 1, 0], [5, most, 0], [3, 4, most]], np.float32)
    points, faces = decode_fragment(encode_fragment(corners, TETRAHEDRON, bits))
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, corners.astype(int).tolist()))
    a, b, c = (points[faces[:, k]] for k in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0  # the way round is kept


def test_triangles_without_an_area_are_no_fragment() -> None:
    point = np.zeros((4, 3), np.float32)
    assert encode_fragment(point, TETRAHEDRON, 10) == b""
    assert encode_fragment(point, TETRAHEDRON[:0], 10) == b""
    points, faces = decode_fragment(b"")
    assert len(points) == len(faces) == 0
    with pytest.raises(BadDataError, match="fragment"):
        decode_fragment(b"DRACO, but not really")


def test_folders_without_such_meshes_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="no meshes"):
        MeshReader.open(f"file://{tmp_path}")
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    with pytest.raises(BadDataError, match=r"mesh/info"):
        MeshReader.open(f"file://{tmp_path}")


def test_the_info_turns_voxels_into_nm() -> None:
    made = info((40.0, 4.0, 8.0), 10, {"@type": "sharded"})
    assert made["transform"] == [8, 0, 0, 0, 0, 4, 0, 0, 0, 0, 40, 0]
    assert made["lod_scale_multiplier"] == 1
    assert made["vertex_quantization_bits"] == 10
