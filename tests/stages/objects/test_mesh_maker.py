"""Meshes worked cell by cell: what a viewer reads, against the voxels and another marching cubes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bioimage_cpp.mesh import marching_cubes
from scipy import ndimage

from magneton_tasks.base.geometry import Box, Size3, Vec3, vec3
from magneton_tasks.formats.precomputed.mesh_reader import MeshReader
from magneton_tasks.stages.objects.maker import Space
from magneton_tasks.stages.objects.mesh_grid import NodeGrid
from magneton_tasks.stages.objects.mesh_maker import MeshMaker
from tests.helpers.meshing import (
    cell_labels,
    enclosed,
    join,
    open_edges,
    pieces_of,
    write_meshes,
)
from tests.helpers.volumes import Array

SIDE, CELL = 56, (32, 32, 32)
#: Above 2^53: no float64 holds it.
BALL = 2**60 + 7
VOXEL, PLATE, CORNER, LINE, IN_PLANE = 5, 9, 10, 11, 13


def objects() -> Array:
    """A ball over eight cells of 32, and what is hard about borders."""
    labels = np.zeros((SIDE,) * 3, np.uint64)
    labels[((np.indices(labels.shape) - 30) ** 2).sum(0) <= 20**2] = BALL
    labels[3, 3, 3] = VOXEL
    labels[0, :, :4] = PLATE  # at the volume's low face
    labels[-3:, -3:, -3:] = CORNER
    labels[32, 2, :] = LINE  # through all cells, in a plane that they share
    labels[32, 5:9, 5:9] = IN_PLANE  # of cells below it in the shared plane only
    return labels


LABELS = objects()
CASES = [
    pytest.param((0, 0, 0), (8.0, 8.0, 8.0), CELL, id="begins at 0"),
    pytest.param((-7, 33, 5), (40.0, 4.0, 4.0), CELL, id="negative, unaligned, anisotropic"),
    pytest.param((64, 0, 128), (8.0, 8.0, 16.0), (24, 16, 64), id="aligned, cells of three sizes"),
    pytest.param((0, 0, 0), (8.0, 8.0, 8.0), (96, 96, 96), id="one cell of eight nodes"),
]


@pytest.mark.parametrize(("begin", "voxel", "cell"), CASES)
def test_meshes_are_closed_and_in_their_place(
    tmp_path: Path, begin: Vec3, voxel: Size3, cell: Vec3
) -> None:
    write_meshes(tmp_path, LABELS, begin, voxel, cell)
    reader = MeshReader.open(f"file://{tmp_path}")
    assert reader.ids().tolist() == [VOXEL, PLATE, CORNER, LINE, IN_PLANE, BALL]
    nm = np.array(voxel[::-1])
    for key in reader.ids().tolist():
        manifest = reader.manifest(key)
        assert manifest is not None
        assert manifest.problems() == []
        assert list(manifest.lod_scales) == [1, 2, 4]
        low, high = extent(key, begin)
        for lod in range(3):
            mesh = reader.mesh(key, lod)
            assert mesh is not None
            assert open_edges(mesh.vertices / nm, mesh.faces) == 0
            assert enclosed(mesh.vertices, mesh.faces) > 0
            off = (0.55, 2, 8)[lod]  # the ends of a line of one voxel recede on coarse levels
            np.testing.assert_allclose(mesh.vertices.min(0) / nm, low, atol=off)
            np.testing.assert_allclose(mesh.vertices.max(0) / nm, high, atol=off)
            assert is_cut_in_the_middle(reader, key, lod)
    assert reader.manifest(4) is None
    assert reader.mesh(4) is None


def extent(key: int, begin: Vec3) -> tuple[Array, Array]:
    """x, y, z of an object's voxels."""
    at = np.argwhere(key == LABELS)[:, ::-1] + np.array(begin[::-1])
    return at.min(0), at.max(0) + 1


def is_cut_in_the_middle(reader: MeshReader, key: int, lod: int) -> bool:
    """No triangle of a coarser level crosses the planes between a node's eight children."""
    manifest = reader.manifest(key)
    assert manifest is not None
    for node, points, faces in reader.fragments(key, manifest, lod):
        extent = np.array(manifest.chunk_shape) * 2**lod
        steps = (points - manifest.grid_origin) / extent - node
        steps = np.rint(steps * 1023)
        assert steps.min() >= 0 and steps.max() <= 1023
        corners = steps[faces]
        if lod and ((corners.min(1) < 512) & (corners.max(1) > 512)).any():
            return False
    return True


@pytest.mark.parametrize(("begin", "voxel", "cell"), CASES[:2])
def test_cloud_volume_reads_the_same(tmp_path: Path, begin: Vec3, voxel: Size3, cell: Vec3) -> None:
    from cloudvolume import CloudVolume

    write_meshes(tmp_path, LABELS, begin, voxel, cell)
    reader, other = MeshReader.open(f"file://{tmp_path}"), CloudVolume(f"file://{tmp_path}")
    for key in (BALL, LINE):
        for lod in range(3):
            ours, theirs = reader.mesh(key, lod), other.mesh.get(key, lod=lod, progress=False)[key]
            assert ours is not None
            np.testing.assert_allclose(ours.vertices, theirs.vertices, rtol=1e-6, atol=1e-3)
            np.testing.assert_array_equal(ours.faces, theirs.faces)


@pytest.mark.parametrize("voxel", [(8.0, 8.0, 8.0), (40.0, 4.0, 4.0)])
def test_a_ball_encloses_what_another_marching_cubes_encloses(tmp_path: Path, voxel: Size3) -> None:
    write_meshes(tmp_path, LABELS, (0, 0, 0), voxel, CELL)
    reader = MeshReader.open(f"file://{tmp_path}")
    points, faces, _, _ = marching_cubes(LABELS == BALL, 0.5, allow_degenerate=False)
    expected = enclosed(points[:, ::-1] * voxel[::-1], faces)
    counts = []
    for lod, most in enumerate((0.01, 0.02, 0.06)):
        mesh = reader.mesh(BALL, lod)
        assert mesh is not None
        counts.append(len(mesh.faces))
        assert enclosed(mesh.vertices, mesh.faces) == pytest.approx(expected, rel=most)
        radius = np.linalg.norm(mesh.vertices / voxel[::-1] - 30.5, axis=1)
        assert np.abs(radius - 20).max() < 1 + lod
    assert counts[0] < 0.6 * len(faces)
    assert counts[1] < 0.6 * counts[0] and counts[2] < 0.6 * counts[1]


def test_no_error_but_rounding_is_left_where_it_may_be_tiny(tmp_path: Path) -> None:
    write_meshes(tmp_path, LABELS, (0, 0, 0), (8, 8, 8), CELL, error_nm=1e-6)
    mesh = MeshReader.open(f"file://{tmp_path}").mesh(BALL)
    assert mesh is not None
    points, faces, _, _ = marching_cubes(LABELS == BALL, 0.5, allow_degenerate=False)
    expected = enclosed(points[:, ::-1], faces) * 8**3
    assert enclosed(mesh.vertices, mesh.faces) == pytest.approx(expected, rel=1e-3)


def test_what_isnt_wanted_gets_no_piece() -> None:
    volume = Box.of_shape(vec3(LABELS.shape))
    maker = MeshMaker(Space(volume, (8, 8, 8), CELL), 3, None)
    pieces = pieces_of(maker, LABELS, volume, CELL, lambda ids: ids != np.uint64(LINE))
    assert sorted(pieces) == [VOXEL, PLATE, CORNER, IN_PLANE, BALL]
    # the cell below the plane and the one above it
    assert len(pieces[IN_PLANE]) == 2
    nothing = cell_labels(np.zeros_like(LABELS), volume, Box.of_shape(CELL))
    assert list(maker.pieces(nothing)) == []


def test_an_object_is_the_same_in_whatever_order_its_pieces_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where not all pieces are kept in memory they are read again, not missed."""
    volume = Box.of_shape(vec3(LABELS.shape))
    maker = MeshMaker(Space(volume, (8, 8, 8), CELL), 3, None)
    pieces = pieces_of(maker, LABELS, volume, CELL)[BALL]
    assert len(pieces) == 8
    expected = join(maker, BALL, pieces)
    assert [piece.times for piece in pieces] == [1] * 8
    monkeypatch.setattr("magneton_tasks.stages.objects.mesh_join._KEPT", 0)
    assert join(maker, BALL, pieces) == expected
    assert all(piece.times > 2 for piece in pieces)


def test_nodes_tile_cells() -> None:
    def node(cell: Vec3) -> Vec3:
        return NodeGrid.of(Space(Box.of_shape((500,) * 3), (1, 1, 1), cell), 3).node

    assert node((64, 128, 512)) == (64, 64, 64)
    assert node((32, 96, 160)) == (32, 48, 40)
    assert node((97, 16, 192)) == (97, 16, 64)


def test_a_sponge_over_eight_cells_is_closed_on_every_level(tmp_path: Path) -> None:
    """Many edges of it have four triangles."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40,) * 3), 1.0)
    write_meshes(
        tmp_path, (np.abs(noise) < 0.03).astype(np.uint64), (0, 0, 0), (1, 1, 1), (24,) * 3
    )
    reader = MeshReader.open(f"file://{tmp_path}")
    for lod in range(3):
        mesh = reader.mesh(1, lod)
        assert mesh is not None
        assert open_edges(mesh.vertices, mesh.faces) == 0
