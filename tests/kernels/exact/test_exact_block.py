"""The exact method's block step, and its sweep over thresholds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.errors import BadDataError, ConfigError
from magneton_tasks.kernels import versions
from magneton_tasks.kernels.exact import block_step, region_graph
from magneton_tasks.kernels.exact.basins import Planes
from magneton_tasks.kernels.exact.block_faces import Inner, Place
from magneton_tasks.kernels.exact.block_step import BlockSegmentation, segment_block_exact
from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.rounds.block import segment_supervoxels
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.volumes import KINDS, volume
from tests.helpers.exact.whole import same

Affinity = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint32]

ALONE: Inner = ((False, False), (False, False), (False, False))
AMONG: Inner = ((True, True), (True, True), (True, True))
SETTINGS = [
    ExactSettings(0.4, s2=0, s_min=0),
    ExactSettings(0.45, s2=12, s_min=5),
    ExactSettings(0.3, s2=20, t_low=40, t_high=230, s_min=8, t_size=60),
]


def no_planes(shape: Vec3) -> Planes:
    z, y, x = shape
    return np.zeros((y, x), np.uint8), np.zeros((z, x), np.uint8), np.zeros((z, y), np.uint8)


def alone(affinity: Affinity, settings: ExactSettings) -> BlockSegmentation:
    """Segment a volume as one block."""
    z, y, x = affinity.shape[1:]
    place = Place(0, (0, 0, 0), (z, y, x), ALONE)
    return segment_block_exact(affinity.copy(), no_planes((z, y, x)), place, settings)


def among(affinity: Affinity, settings: ExactSettings) -> tuple[BlockSegmentation, Place]:
    """Segment all but the last planes, as a block with neighbours on all sides."""
    z, y, x = (n - 1 for n in affinity.shape[1:])
    place = Place(7, (z, 2 * y, x + 3), (3 * z, 5 * y, 2 * x + 9), AMONG)
    high = affinity[0, z, :y, :x], affinity[1, :z, y, :x], affinity[2, :z, :y, x]
    core = np.ascontiguousarray(affinity[:, :z, :y, :x])
    return segment_block_exact(core, high, place, settings), place


Edge = tuple[int, int, int, int]


def edges_between_labels(
    affinity: Affinity, labels: Labels, place: Place
) -> dict[tuple[int, int], Edge]:
    """(sum, count, last, key) of each pair of labels that touch, voxel edge by voxel edge."""
    found: dict[tuple[int, int], Edge] = {}
    _, ny, nx_ = place.volume
    for v in product(*map(range, labels.shape)):
        z, y, x = (i + o for i, o in zip(v, place.origin, strict=True))
        for d in range(3):
            w = tuple(i - (k == d) for k, i in enumerate(v))
            a, b = int(labels[v]), int(labels[w])
            if min(w) < 0 or a == b or a == 0 or b == 0:
                continue
            value, position = int(affinity[(d, *v)]), 3 * ((z * ny + y) * nx_ + x) + d
            key = (value << KEY_BITS) - position
            pair = min(a, b), max(a, b)
            s, c, last, best = found.get(pair, (0, 0, -1, key))
            found[pair] = (s + value, c + 1, max(last, position), max(best, key))
    return found


# --- a whole volume as one block


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_one_block_is_what_the_method_says(kind: str, settings: ExactSettings) -> None:
    shapes = [(5, 6, 7), (1, 9, 8), (8, 1, 7), (9, 5, 1), (1, 1, 12), (1, 1, 1)]
    for seed, shape in enumerate(shapes):
        affinity = volume(kind, shape, seed)
        found = alone(affinity, settings)
        assert found.labels.dtype == np.uint32 and found.labels.shape == shape
        assert same(found.labels, oracle(affinity, settings)), shape
        assert sorted(set(found.labels.flat) - {0}) == list(range(1, found.n_labels + 1))
        assert found.faces == {} and found.counts.open_regions == 0
        assert all(c.size == 0 for c in (*found.residual.basins, *found.residual.edges))


def test_masked_edges_are_as_good_as_absent() -> None:
    affinity = volume("smooth", (5, 6, 7), 3)
    mask = np.random.default_rng(1).random((5, 6, 7)) > 0.2
    hidden = affinity.copy()
    for d in range(3):
        hidden[d][~mask] = 0
        behind = np.roll(mask, 1, axis=d)
        hidden[d][~behind] = 0  # what np.roll brings in at the low face leads nowhere
    found = alone(hidden, SETTINGS[1])
    assert same(found.labels, oracle(affinity, SETTINGS[1], mask))


def test_edges_that_lead_out_of_the_volume_are_written_to_and_not_read() -> None:
    affinity = volume("smooth", (4, 5, 6), 0)
    given = affinity.copy()
    full = no_planes((4, 5, 6))
    for plane in full:
        plane[...] = 255
    found = segment_block_exact(given, full, Place(0, (0, 0, 0), (4, 5, 6), ALONE), SETTINGS[1])
    assert (found.labels == alone(affinity, SETTINGS[1]).labels).all()
    for d in range(3):
        assert (given[d].take(0, axis=d) == 0).all()
        inside = [slice(1, None) if k == d else slice(None) for k in range(3)]
        assert (given[(d, *inside)] == affinity[(d, *inside)]).all()


# --- a block among others


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_what_a_block_leaves_open(kind: str, settings: ExactSettings) -> None:
    """Against the labels: edges, sizes, faces, and that whatever lies on a face is open."""
    affinity = volume(kind, (8, 9, 10), 5)
    found, place = among(affinity, settings)
    edges, n_open = found.residual.edges, found.residual.opens
    expected = {
        pair: edge
        for pair, edge in edges_between_labels(affinity, found.labels, place).items()
        if max(pair) <= n_open
    }
    rows = zip(*(column.tolist() for column in edges), strict=True)
    assert {(u, v): tuple(edge) for u, v, *edge in rows} == expected
    basins = found.residual.basins
    for (axis, side), face in found.faces.items():
        labels = found.labels.take(-side, axis=axis)
        assert (labels <= n_open).all()
        assert ((face.basins == 0) == (labels == 0)).all()
        assert (np.append(np.uint32(0), basins.region)[face.basins] == labels).all()
        on_face = np.unique(face.basins[face.basins > 0])
        bit = np.uint8(1 << (2 * axis + side))
        assert np.flatnonzero(basins.sides & bit).tolist() == (on_face.astype(int) - 1).tolist()
        if side == 0:
            assert face.affinity is not None
            core = affinity[axis, :-1, :-1, :-1]
            assert (face.affinity == core.take(0, axis=axis)).all()
        else:
            assert face.affinity is None


def test_results_are_those_of_the_kernel_version() -> None:
    """A failure here means: bump versions.EXACT_BLOCK, for old results mustn't pass for new ones."""
    assert versions.EXACT_BLOCK == 2
    affinity = volume("smooth", (21, 32, 33), 11)
    high = (affinity[0, -1].copy(), *no_planes((20, 32, 33))[1:])
    place = Place(3, (0, 0, 0), (40, 32, 33), ((False, True), *ALONE[1:]))
    settings = ExactSettings(0.55, s2=8, s_min=6)
    found = segment_supervoxels(affinity[:, :-1].copy(), high, place, settings)
    residual = found.residual
    digest = hashlib.sha256(found.labels.astype("<u4").tobytes())
    tables = (
        *found.supervoxels,
        *found.regions,
        *residual.edges,
        *residual.basins,
        *residual.pairs,
    )
    for column in (found.sizes, *tables):
        digest.update(np.asarray(column).astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "702c89f82d4d8444"
    assert found.sizes.size - 1 > found.regions.name.size > 20
    assert found.merges > 5 and residual.pairs.a.size > 20


@pytest.mark.long
def test_indices_of_64_bits_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = volume("smooth", (12, 11, 10), 1)
    narrow, _ = among(affinity, SETTINGS[1])
    monkeypatch.setattr(region_graph, "MAX_INT32_EDGES", 0)
    wide, _ = among(affinity, SETTINGS[1])
    assert (narrow.labels == wide.labels).all()
    np.testing.assert_equal(narrow.residual.edges, wide.residual.edges)


# --- many thresholds


@pytest.mark.parametrize("kind", ["noise", "smooth", "cells", "two"])
def test_a_sweep_gives_what_single_runs_give(kind: str) -> None:
    affinity = volume(kind, (13, 14, 15), 2)
    thresholds = [0.9, 0.7, 0.7, 0.5, 0.35, 0.1, 0.0]
    for settings in SETTINGS:
        found = list(exact_segmentations(affinity.copy(), settings, thresholds))
        assert len({id(labels) for labels, _ in found}) == len(thresholds)
        for threshold, (labels, n) in zip(thresholds, found, strict=True):
            single = alone(affinity, replace(settings, threshold=threshold))
            assert (labels == single.labels).all() and n == single.n_labels


def test_thresholds_that_rise_are_refused() -> None:
    with pytest.raises(BadDataError, match="thresholds rise"):
        next(exact_segmentations(volume("noise", (3, 3, 3), 0), SETTINGS[0], [0.4, 0.5]))


# --- what is refused


@pytest.mark.parametrize(
    ("affinity", "planes", "message"),
    [
        (np.zeros((3, 4, 5, 6), np.float32), (4, 5, 6), "float32, not uint8"),
        (np.zeros((2, 4, 5, 6), np.uint8), (4, 5, 6), "not uint8 \\(3, z, y, x\\)"),
        (np.zeros((3, 4, 5), np.uint8), (4, 5, 6), "not uint8 \\(3, z, y, x\\)"),
        (np.zeros((3, 4, 0, 6), np.uint8), (4, 0, 6), "empty"),
        (np.zeros((3, 4, 5, 6), np.uint8, order="F"), (4, 5, 6), "C-contiguous"),
        (np.zeros((3, 4, 5, 6), np.uint8), (4, 5, 7), "plane beyond the high face of axis 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(affinity: Affinity, planes: Vec3, message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        segment_block_exact(
            affinity, no_planes(planes), Place(0, (0, 0, 0), planes, ALONE), SETTINGS[0]
        )


def test_too_many_voxels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = np.zeros((3, 4, 5, 6), np.uint8)
    place = Place(0, (0, 0, 0), (2**20, 2**20, 2**20), ALONE)
    with pytest.raises(BadDataError, match="more edges than 2\\^54"):
        segment_block_exact(affinity, no_planes((4, 5, 6)), place, SETTINGS[0])
    monkeypatch.setattr(block_step, "MAX_EXACT_BLOCK_VOX", 100)
    with pytest.raises(BadDataError, match="a block of 120 voxels, more than 100"):
        alone(affinity, SETTINGS[0])


@pytest.mark.parametrize(("t_low", "t_high"), [(0, 200), (100, 99), (1, 257)])
def test_settings_that_contradict_each_other_are_refused(t_low: int, t_high: int) -> None:
    with pytest.raises(ConfigError, match="t_low"):
        alone(np.zeros((3, 4, 5, 6), np.uint8), ExactSettings(0.5, t_low=t_low, t_high=t_high))
