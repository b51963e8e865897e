"""Surfaces of labels and their simplification: closed, outward, near what another library finds."""

from __future__ import annotations

import numpy as np
from bioimage_cpp.mesh import marching_cubes
from scipy import ndimage

from magneton_tasks.kernels.mesh.cube_cases import make_cases
from magneton_tasks.kernels.mesh.merge import combined, empty, selected, welded
from magneton_tasks.kernels.mesh.simplify import simplify
from magneton_tasks.kernels.mesh.surfaces import Meshes, surfaces
from tests.helpers.meshing import enclosed, open_edges
from tests.helpers.volumes import Array

ONE, ZERO = np.ones(3), np.zeros(3)
NOWHERE = np.zeros(3, np.bool_)


def noise(side: int = 14) -> Array:
    """Three labels and nothing, voxel by voxel: every case of a cube is there; zeros around."""
    labels = np.random.default_rng(1).integers(0, 4, (side,) * 3).astype(np.uint32)
    return np.pad(labels, 1)


def all_of(labels: Array) -> Meshes:
    return surfaces(labels, np.ones(int(labels.max()) + 1, np.bool_))


def test_every_case_is_the_same_whatever_is_called_inside_but_for_two_touching_corners() -> None:
    counts, _ = make_cases()
    assert counts[0] == counts[255] == 0
    assert counts[1] == counts[254] == 1
    assert counts.max() == 5


def test_surfaces_of_noise_close_and_look_outwards() -> None:
    labels = noise()
    found = all_of(labels)
    assert found.labels.tolist() == [1, 2, 3]
    for k, label in enumerate(found.labels):
        vertices, faces = found.one(k)
        assert open_edges(vertices, faces) == 0
        inside = labels == label
        assert enclosed(vertices, faces) > 0
        # a vertex for every edge between a voxel inside and one outside
        assert len(vertices) == sum(np.diff(inside, axis=axis).sum() for axis in range(3))


def test_surfaces_enclose_what_another_library_finds() -> None:
    rng = np.random.default_rng(4)
    smooth = ndimage.gaussian_filter(rng.normal(size=(30, 30, 30)), 2.5)
    inside = np.pad(smooth > 0, 1)
    points, others, _, _ = marching_cubes(inside, 0.5, allow_degenerate=False)
    vertices, faces = all_of(inside.astype(np.uint32)).one(0)
    volume = enclosed(points[:, ::-1], others)
    assert abs(enclosed(vertices, faces) / volume - 1) < 0.002
    # the library adds some inside cubes where two sheets meet
    assert {tuple(p) for p in vertices.tolist()} <= {tuple(p) for p in points[:, ::-1].tolist()}


def test_only_what_is_wanted_gets_a_surface() -> None:
    labels = noise()
    found = surfaces(labels, np.array([True, False, True, False]))
    assert found.labels.tolist() == [2]
    assert np.array_equal(found.one(0)[0], all_of(labels).one(1)[0])
    assert len(surfaces(labels[:3], np.zeros(4, np.bool_)).faces) == 0


def test_a_smooth_shape_needs_few_triangles_and_stays_where_it_is() -> None:
    """A cube of 20: its sides are planes."""
    labels = np.zeros((24,) * 3, np.uint32)
    labels[2:22, 2:22, 2:22] = 1
    found = all_of(labels)
    less = simplify(found, 0.1, ONE, ZERO, np.full(3, 99.0), NOWHERE)
    assert len(less.faces) < 0.1 * len(found.faces)
    assert open_edges(less.vertices, less.faces) == 0
    volume = enclosed(found.vertices, found.faces)
    assert abs(enclosed(less.vertices, less.faces) / volume - 1) < 0.01
    np.testing.assert_allclose(less.vertices.min(0), 1.5, atol=0.1)
    np.testing.assert_allclose(less.vertices.max(0), 21.5, atol=0.1)


def test_borders_stay_however_much_goes() -> None:
    labels = noise()
    side = labels.shape[0] - 1
    cut = all_of(np.ascontiguousarray(labels[:9]))
    less = simplify(cut, 9.0, ONE, ZERO, np.array([side, side, 8.0]), NOWHERE)
    assert len(less.faces) < 0.8 * len(cut.faces)
    for before, after in ((cut, less),):
        for k in range(3):
            old, new = border(*before.one(k)), border(*after.one(k))
            assert old == new and len(old) > 20
    assert less.vertices.min() >= 0 and less.vertices[:, 2].max() <= 8


def border(vertices: Array, faces: Array) -> set[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Open edges, by their points."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    points = [tuple(p) for p in vertices.tolist()]
    found = {(points[a], points[b]) for a, b in edges.tolist()}
    return {(a, b) for a, b in found if (b, a) not in found}


def test_no_object_vanishes() -> None:
    labels = np.zeros((9,) * 3, np.uint32)
    labels[1:3, 1:3, 1:3], labels[6, 6, 6] = 1, 2
    less = simplify(all_of(labels), 99.0, ONE, ZERO, np.full(3, 8.0), NOWHERE)
    for k in range(2):
        vertices, faces = less.one(k)
        assert len(faces) >= 4
        assert enclosed(vertices, faces) > 0


def test_parts_of_a_box_join_to_the_surfaces_of_the_whole() -> None:
    labels = noise()
    parts = [
        (all_of(np.ascontiguousarray(labels[:8])), np.zeros(3, np.float32)),
        (all_of(np.ascontiguousarray(labels[7:])), np.array([0, 0, 7], np.float32)),
    ]
    found = welded(combined(parts), np.array([-1, -1, 7], np.float32))
    whole = all_of(labels)
    assert found.labels.tolist() == whole.labels.tolist()
    for k in range(3):
        vertices, faces = found.one(k)
        expected, others = whole.one(k)
        assert len(faces) == len(others)
        assert {tuple(p) for p in vertices.tolist()} == {tuple(p) for p in expected.tolist()}
        edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
        assert border(vertices, faces) == set()
        assert len(np.unique(edges)) == len(expected)  # equal points have become one
    assert selected(whole, np.array([False, True, False])).labels.tolist() == [2]
    assert len(combined([]).faces) == len(empty().faces) == 0
