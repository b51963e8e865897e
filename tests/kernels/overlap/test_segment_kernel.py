"""One block through waterz: labels, masks, bad data, and the traps of the library."""

from __future__ import annotations

import hashlib
from typing import get_args

import numpy as np
import pytest
import waterz
from numpy.typing import NDArray

from magneton_tasks.base.methods import SegmentSettings, Supervoxels
from magneton_tasks.base.scoring import parse_scoring
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.label_sizes import label_sizes
from magneton_tasks.kernels.overlap.density import graph_density
from magneton_tasks.kernels.overlap.segment import (
    KERNEL_VERSION,
    Float32,
    segment_block,
    warm_up,
)

KINDS: tuple[Supervoxels, ...] = get_args(Supervoxels)
MEAN = SegmentSettings(0.5, "mean")


def two_slabs(between: float, shape: tuple[int, int, int] = (6, 8, 10)) -> Float32:
    """Affinity 1 everywhere, and ``between`` across the plane y = 4."""
    affinity = np.ones((3, *shape), np.float32)
    affinity[1, :, 4] = between
    return affinity


def eight_bits(values: NDArray[np.uint8]) -> Float32:
    return np.divide(values, np.float32(255), dtype=np.float32)


def noisy_cells(n: int = 40, seed: int = 0) -> Float32:
    """Cubes of about 10 voxels with leaky membranes; 8 bits, as real volumes have."""
    rng = np.random.RandomState(seed)  # its stream is frozen
    cell = np.arange(n) // 10
    ids = (cell[:, None, None] * 100 + cell[:, None]) * 100 + cell
    affinity = np.empty((3, n, n, n), np.uint8)
    for d in range(3):
        same = ids == np.roll(ids, 1, axis=d)
        affinity[d] = np.where(same, 255, 60) - rng.randint(0, 60, ids.shape)
    return eight_bits(affinity)


# --- labels


def test_two_cells_get_two_labels_in_raster_order() -> None:
    labels, count = segment_block(two_slabs(0.0), MEAN)
    assert count == 2
    assert labels.dtype == np.uint32
    assert (labels[:, :4] == 1).all()
    assert (labels[:, 4:] == 2).all()


@pytest.mark.parametrize("function", ["mean", "aff50_his256", "aff50_his256_ini0_que0"])
@pytest.mark.parametrize(
    ("threshold", "count"),
    [(0.5, 1), (0.7, 2)],  # between the slabs lies 0.6: merged at 0.5, apart at 0.7
)
def test_threshold_is_an_affinity_and_lower_merges_more(
    function: str, threshold: float, count: int
) -> None:
    assert segment_block(two_slabs(0.6), SegmentSettings(threshold, function)).count == count


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_dense_and_in_raster_order(kind: Supervoxels) -> None:
    labels, count = segment_block(noisy_cells(), SegmentSettings(0.6, "mean", kind))
    found, first = np.unique(labels[labels > 0], return_index=True)
    assert count > 3
    assert found.tolist() == list(range(1, count + 1))
    assert (np.diff(first) > 0).all()
    assert labels.flags.c_contiguous


def test_labels_are_those_of_bare_waterz() -> None:
    affinity = noisy_cells()
    scoring = parse_scoring("aff50_his256")
    bare = np.asarray(
        next(
            waterz.agglomerate(
                affinity, [0.4], scoring_function=scoring.function, discretize_queue=256
            )
        )
    )
    labels, count = segment_block(affinity, SegmentSettings(0.6, "aff50_his256"))
    pairs = np.unique(np.stack([bare.reshape(-1), labels.reshape(-1)]), axis=1)
    assert pairs.shape[1] == np.unique(bare).size == count + (0 in bare)
    assert np.array_equal(labels == 0, bare == 0)


def test_any_memory_layout_gives_the_same_and_the_input_stays() -> None:
    affinity = noisy_cells(20)
    before = affinity.copy()
    labels = segment_block(affinity, MEAN).labels
    assert np.array_equal(affinity, before)
    assert np.array_equal(segment_block(np.asfortranarray(affinity), MEAN).labels, labels)
    assert np.array_equal(affinity, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", ["mean", "aff50_his256"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 1, 8), (8, 8, 1), (1, 1, 8), (1, 1, 1)])
def test_blocks_of_one_voxel_along_an_axis(
    kind: Supervoxels, function: str, shape: tuple[int, int, int]
) -> None:
    affinity = np.full((3, *shape), 0.9, np.float32)
    labels, count = segment_block(affinity, SegmentSettings(0.5, function, kind))
    assert labels.shape == shape
    # a lone voxel has no edge, so it is background
    assert count == (0 if shape == (1, 1, 1) else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_without_foreground_costs_nothing(
    kind: Supervoxels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(waterz, "agglomerate")  # calling it would fail
    affinity = np.full((3, 4, 5, 6), 0.1, np.float32)
    settings = SegmentSettings(0.5, "mean", kind, aff_thresholds=(0.1, 0.9))
    labels, count = segment_block(affinity, settings)
    assert count == 0
    assert labels.shape == (4, 5, 6)
    assert not labels.any()


# --- mask


@pytest.mark.parametrize("kind", KINDS)
def test_masked_voxels_are_background_and_part_what_they_lie_between(kind: Supervoxels) -> None:
    mask = np.ones((6, 12, 10), np.bool_)
    mask[:, 5:7] = False
    settings = SegmentSettings(0.5, "mean", kind, interior_threshold=0.4)
    labels, count = segment_block(two_slabs(1.0, (6, 12, 10)), settings, mask)
    assert count >= 2
    assert not labels[:, 5:7].any()
    assert labels[mask].all()
    assert not set(labels[:, :5].flat) & set(labels[:, 7:].flat)


def test_a_mask_of_nothing_gives_nothing() -> None:
    assert segment_block(two_slabs(1.0), MEAN, np.zeros((6, 8, 10), np.bool_)).count == 0


# --- bad data


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.01, 255.0, np.inf])
@pytest.mark.parametrize("at", [(0, 0, 0, 0), (1, 2, 3, 4), (2, 5, 7, 9)])
def test_a_bad_affinity_is_named(value: float, at: tuple[int, int, int, int]) -> None:
    affinity = two_slabs(0.5)
    affinity[at] = value
    with pytest.raises(BadDataError, match=r"isn't in \[0, 1\]") as error:
        segment_block(affinity, MEAN)
    assert f"({at[1]}, {at[2]}, {at[3]}) (z, y, x), channel {at[0]}" in error.value.what


def test_the_first_of_many_is_named_in_a_large_block() -> None:
    affinity = np.full((3, 30, 40, 50), 0.5, np.float32)
    affinity[1, 20, 3, 7] = affinity[2, 1, 1, 1] = 2
    with pytest.raises(BadDataError, match=r"\(20, 3, 7\) \(z, y, x\), channel 1"):
        segment_block(affinity, MEAN)


@pytest.mark.parametrize(
    "affinity",
    [
        np.zeros((2, 4, 4, 4), np.float32),  # waterz would read beyond
        np.zeros((4, 4, 4, 4), np.float32),  # waterz would drop a channel silently
        np.zeros((3, 4, 4), np.float32),
        np.zeros((3, 0, 4, 4), np.float32),
        np.zeros((3, 4, 4, 4), np.float64),
        np.zeros((3, 4, 4, 4), np.uint8),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_wrong_shapes_and_types_are_refused(affinity: Float32) -> None:
    with pytest.raises(BadDataError):
        segment_block(affinity, MEAN)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(BadDataError, match="mask"):
        segment_block(two_slabs(0.5), MEAN, np.ones((6, 8, 9), np.bool_))
    with pytest.raises(BadDataError, match="mask"):
        segment_block(two_slabs(0.5), MEAN, np.ones((6, 8, 10), np.uint8))


# --- the library's manners


def test_nothing_is_printed_and_printing_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", end="")
    segment_block(noisy_cells(20), MEAN)
    print("after")
    assert capfd.readouterr().out == "beforeafter\n"


def test_warm_up_runs_for_each_kind() -> None:
    for kind in KINDS:
        warm_up(kind)


# --- sizes and densities


def test_label_sizes_count_core_and_read_box() -> None:
    labels = np.random.RandomState(0).randint(0, 6, (5, 6, 7)).astype(np.uint32)
    core = (slice(1, 4), slice(0, 6), slice(2, 5))
    sizes = label_sizes(labels, core, 5)
    assert sizes.core.dtype == sizes.read.dtype == np.uint32
    assert sizes.read.tolist() == np.bincount(labels.flat, minlength=6)[1:].tolist()
    assert sizes.core.tolist() == np.bincount(labels[core].flat, minlength=6)[1:].tolist()


def test_label_sizes_without_labels() -> None:
    sizes = label_sizes(np.zeros((2, 2, 2), np.uint32), (slice(0, 2),) * 3, 0)
    assert sizes.core.size == sizes.read.size == 0


def test_density_of_known_cubes() -> None:
    """Cubes of 10 voxels: 1 fragment, 3 edges and 300 faces in each 1000 voxels."""
    cell = np.arange(60) // 10
    affinity = np.ones((3, 60, 60, 60), np.float32)
    for d in range(3):
        border = np.flatnonzero(np.diff(cell)) + 1
        np.moveaxis(affinity[d], d, 0)[border] = 0.2
    density = graph_density(affinity, SegmentSettings(0.7))
    assert tuple(density) == pytest.approx((1e-3, 3e-3, 0.3), rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_density_of_a_small_box_is_that_of_the_volume(kind: Supervoxels) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (3, 72, 72, 72))
    affinity = eight_bits(noise.astype(np.uint8))
    settings = SegmentSettings(0.7, supervoxels=kind, interior_threshold=0.5)
    volume = graph_density(affinity, settings)
    box = graph_density(affinity[:, 10:50, 10:50, 10:50], settings)
    assert volume.edges_per_voxel > 0.03
    # distances don't look beyond the box, which changes seeds near its faces
    assert tuple(box) == pytest.approx(tuple(volume), rel=0.03 if kind == "waterz" else 0.2)


def test_density_of_an_empty_box() -> None:
    assert graph_density(np.zeros((3, 8, 8, 8), np.float32), MEAN) == (0, 0, 0)


# --- golden results


@pytest.mark.parametrize(
    ("kind", "function", "digest"),
    [
        ("waterz", "mean", "fa9e8b3db9f4c05f"),
        ("waterz", "aff50_his256", "0e6942ec5bd79ff5"),
        ("3d", "mean", "0443f634f8bf0798"),
        ("2d", "mean", "1f423cea9d831b5d"),
    ],
)
def test_results_are_those_of_the_kernel_version(
    kind: Supervoxels, function: str, digest: str
) -> None:
    """A failure here means: bump versions.SEGMENT, for old labels mustn't pass for new ones."""
    assert KERNEL_VERSION == 1
    labels, _ = segment_block(
        noisy_cells(), SegmentSettings(0.8, function, kind, interior_threshold=0.7)
    )
    assert hashlib.sha256(labels.astype("<u4").tobytes()).hexdigest()[:16] == digest
