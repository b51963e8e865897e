"""Many thresholds by one agglomeration: each result is that of one threshold alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import ExactSettings, Rule, RuleName, SegmentSettings, Supervoxels
from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.evaluate import Scores, evaluate
from magneton_tasks.kernels.exact.block_faces import Place
from magneton_tasks.kernels.exact.block_step import segment_block_exact
from magneton_tasks.kernels.global_ids import Pooling
from magneton_tasks.kernels.overlap.grid_sweep import BlockCuts, cut_block, score_blocks
from magneton_tasks.kernels.overlap.overlap import count_overlaps
from magneton_tasks.kernels.overlap.pool_rules import MATCH_COLUMNS, match
from magneton_tasks.kernels.overlap.segment import Float32, Labels, segment_block
from magneton_tasks.kernels.overlap.sweep import exact_sweep, score_exact_sweep, sweep
from tests.helpers.volumes import affinities, cells

KINDS: tuple[Supervoxels, ...] = get_args(Supervoxels)
FUNCTIONS = ("mean", "mean_que256", "aff50_his256", "aff25_his256_ini0_que0", "size")
THRESHOLDS = (0.0, 0.05, 0.31, 0.5, 0.55, 0.7, 0.9, 1.0)
SHAPE = (24, 40, 36)


@pytest.fixture(scope="module")
def truth() -> NDArray[np.uint32]:
    return cells(SHAPE, n=14)


@pytest.fixture(scope="module")
def noisy(truth: NDArray[np.uint32]) -> Float32:
    return np.divide(affinities(truth, noise=0.35), np.float32(255), dtype=np.float32)


def cut_out(array: NDArray[Any]) -> NDArray[Any]:
    """A third of a volume: histograms of all pairs cost seconds in the whole."""
    return array[..., 4:20, 6:34, 5:31].copy()


def score_sweep(
    affinity: Float32,
    given: SegmentSettings,
    thresholds: Sequence[float],
    truth: NDArray[np.integer],
    mask: NDArray[np.bool_] | None = None,
) -> list[tuple[float, Scores]]:
    """Scores of a box that is one block."""
    shape = vec3(affinity.shape[1:])
    one = Grid.of_cells(Box.of_shape(shape), shape)
    cut = cut_block(affinity, given, thresholds, mask)
    return score_blocks(one, [cut], thresholds, truth, Rule())


def settings(function: str = "mean", kind: Supervoxels = "waterz") -> SegmentSettings:
    return SegmentSettings(0.5, function, kind, aff_thresholds=(0.02, 0.98), interior_threshold=0.3)


# --- labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_threshold_gives_the_labels_of_that_threshold_alone(
    noisy: Float32, function: str, kind: Supervoxels
) -> None:
    given, noisy = settings(function, kind), cut_out(noisy)
    found = list(sweep(noisy, given, THRESHOLDS))  # kept: each array is its own
    assert [t for t, _ in found] == sorted(THRESHOLDS, reverse=True)
    counts = set()
    for threshold, labels in found:
        alone = segment_block(noisy, replace(given, threshold=threshold))
        assert labels.count == alone.count
        assert labels.labels.dtype == np.uint32
        assert np.array_equal(labels.labels, alone.labels), threshold
        counts.add(labels.count)
    assert len(counts) > 3  # the thresholds do differ


def test_the_mask_counts_at_every_threshold(noisy: Float32) -> None:
    mask = np.random.default_rng(1).random(SHAPE) > 0.1
    for threshold, labels in sweep(noisy.copy(), settings(), (0.3, 0.6), mask):
        alone = segment_block(noisy.copy(), replace(settings(), threshold=threshold), mask)
        assert np.array_equal(labels.labels, alone.labels)
        assert not labels.labels[~mask].any()


def test_thresholds_come_in_any_order_and_each_counts_once(noisy: Float32) -> None:
    found = [t for t, _ in sweep(noisy, settings(), [0.2, 0.8, 0.5, 0.8, 0.2])]
    assert found == [0.8, 0.5, 0.2]


def test_a_block_without_foreground_has_no_labels_at_any_threshold() -> None:
    found = list(sweep(np.zeros((3, 4, 5, 6), np.float32), settings(), (0.2, 0.8)))
    assert [(t, labels.count) for t, labels in found] == [(0.8, 0), (0.2, 0)]
    assert all(labels.labels.shape == (4, 5, 6) and not labels.labels.any() for _, labels in found)


def test_what_the_caller_prints_between_two_thresholds_is_seen(
    noisy: Float32, capfd: pytest.CaptureFixture[str]
) -> None:
    for threshold, _ in sweep(noisy, settings(), (0.3, 0.6)):
        print(threshold)
    assert capfd.readouterr().out == "0.6\n0.3\n"


def test_a_sweep_may_be_left_and_begun_anew(noisy: Float32) -> None:
    for _ in range(3):
        threshold, labels = next(sweep(noisy, settings(), (0.3, 0.6)))
        assert np.array_equal(
            labels.labels, segment_block(noisy, replace(settings(), threshold=threshold)).labels
        )


@pytest.mark.parametrize("bad", [(), (0.5, 1.01), (-0.1,), (float("nan"),)])
def test_wrong_thresholds_are_refused(noisy: Float32, bad: tuple[float, ...]) -> None:
    with pytest.raises(BadDataError, match="threshold"):
        list(sweep(noisy, settings(), bad))
    with pytest.raises(BadDataError, match="threshold"):
        score_sweep(noisy, settings(), bad, np.ones(SHAPE, np.uint32))


# --- scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_scores_are_those_of_each_threshold_alone(
    noisy: Float32, truth: NDArray[np.uint32], function: str, kind: Supervoxels
) -> None:
    noisy, known = cut_out(noisy), cut_out(truth)
    known[:5, :10] = 0  # not labelled: left out
    found = score_sweep(noisy, settings(function, kind), THRESHOLDS, known)
    assert [t for t, _ in found] == sorted(THRESHOLDS, reverse=True)
    for threshold, scores in found:
        given = replace(settings(function, kind), threshold=threshold)
        alone = evaluate(segment_block(noisy, given).labels, known)
        assert (scores.voxels, scores.segments, scores.objects) == (
            alone.voxels,
            alone.segments,
            alone.objects,
        )
        assert (scores.vi_split, scores.vi_merge, scores.arand) == pytest.approx(
            (alone.vi_split, alone.vi_merge, alone.arand), abs=1e-12
        )


def test_scores_do_not_depend_on_the_ids_of_the_truth(
    noisy: Float32, truth: NDArray[np.uint32]
) -> None:
    large = truth.astype(np.uint64) * np.uint64(0x123456789ABCDEF)
    signed = truth.astype(np.int16)
    expected = score_sweep(noisy, settings(), THRESHOLDS, truth)
    for other in (large, signed):
        for (_, a), (_, b) in zip(
            score_sweep(noisy, settings(), THRESHOLDS, other), expected, strict=True
        ):
            assert (a.vi_split, a.vi_merge, a.arand) == pytest.approx(
                (b.vi_split, b.vi_merge, b.arand), abs=1e-12
            )


def test_a_table_counted_in_parts_is_the_same(
    noisy: Float32, truth: NDArray[np.uint32], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = score_sweep(noisy, settings(), THRESHOLDS, truth)
    monkeypatch.setattr("magneton_tasks.kernels.overlap.sweep._COUNTED_VOX", 5000)
    assert score_sweep(noisy, settings(), THRESHOLDS, truth) == expected


def test_no_foreground_is_scored_as_one_object(truth: NDArray[np.uint32]) -> None:
    nothing = np.zeros((3, *SHAPE), np.float32)
    expected = evaluate(np.zeros(SHAPE, np.uint32), truth)
    assert score_sweep(nothing, settings(), (0.3, 0.6), truth) == [(0.6, expected), (0.3, expected)]


def test_a_truth_without_labels_or_of_another_shape_is_refused(noisy: Float32) -> None:
    with pytest.raises(BadDataError, match="no voxel of the truth is labelled"):
        score_sweep(noisy, settings(), (0.5,), np.zeros(SHAPE, np.uint32))
    with pytest.raises(BadDataError, match="shape"):
        score_sweep(noisy, settings(), (0.5,), np.ones((24, 40, 35), np.uint32))


# --- several blocks


GRID = Grid.of_blocks(Box.of_shape(SHAPE), (16, 24, 22), (6, 8, 6), (1, 1, 1), (0, 0, 0))


def cuts(noisy: Float32, given: SegmentSettings) -> list[BlockCuts]:
    parts = (noisy[:, *GRID.read(k).slices((0, 0, 0))] for k in range(len(GRID)))
    return [cut_block(np.ascontiguousarray(part), given, THRESHOLDS) for part in parts]


@pytest.fixture(scope="module")
def segmented(noisy: Float32) -> dict[float, list[Labels]]:
    """What segment makes of the blocks at each threshold."""
    parts = [noisy[:, *GRID.read(key).slices((0, 0, 0))] for key in range(len(GRID))]
    return {
        threshold: [
            segment_block(np.ascontiguousarray(part), replace(settings(), threshold=threshold))
            for part in parts
        ]
        for threshold in THRESHOLDS
    }


def run_of_blocks(found: Sequence[Labels], rule: Rule, min_size_vox: int) -> NDArray[np.uint64]:
    """What count, pool and apply make of the blocks."""
    pooling = Pooling(np.array([n for _, n in found]))
    for a in range(len(GRID)):
        for b in GRID.later_neighbours(a):
            shared = GRID.read(a).intersection(GRID.read(b))
            here = (found[k].labels[shared.slices(GRID.read(k).begin)] for k in (a, b))
            sizes = (np.bincount(found[k].labels.ravel())[1:] for k in (a, b))
            pairs = count_overlaps(*here, *sizes)
            columns = {
                name: getattr(
                    pairs, name, np.full(len(pairs), a if name == "block_a" else b, np.uint32)
                )
                for name in MATCH_COLUMNS
            }
            joined = match(columns, rule)
            pooling.add(*(columns[name][joined] for name in MATCH_COLUMNS[:4]))
    pool, whole = pooling.finish(), np.zeros(SHAPE, np.uint64)
    cores = []
    for key, (labels, n) in enumerate(found):
        core = labels[GRID.core(key).slices(GRID.read(key).begin)]
        pool.add_sizes(key, np.bincount(core.ravel(), minlength=n + 1)[1:])
        cores.append(core)
    pool.leave_out(min_size_vox)
    for key, core in enumerate(cores):
        ids = np.append(np.uint64(0), pool.global_ids(key))
        whole[GRID.core(key).slices((0, 0, 0))] = ids[core]
    return whole


@pytest.mark.parametrize("rule", get_args(RuleName))
@pytest.mark.parametrize("min_size_vox", [0, 60])
def test_scores_of_several_blocks_are_those_of_matched_blocks(
    noisy: Float32,
    segmented: dict[float, list[Labels]],
    truth: NDArray[np.uint32],
    rule: RuleName,
    min_size_vox: int,
) -> None:
    assert GRID.shape == (3, 3, 3)
    known, given = truth.copy(), Rule(rule)
    known[:5, :10] = 0
    found = score_blocks(GRID, cuts(noisy, settings()), THRESHOLDS, known, given, min_size_vox)
    assert [t for t, _ in found] == sorted(THRESHOLDS, reverse=True)
    for threshold, scores in found:
        alone = run_of_blocks(segmented[threshold], given, min_size_vox)
        expected = evaluate(alone, known)
        assert (scores.voxels, scores.segments) == (expected.voxels, expected.segments), threshold
        assert (scores.vi_split, scores.vi_merge, scores.arand) == pytest.approx(
            (expected.vi_split, expected.vi_merge, expected.arand), abs=1e-12
        )
    one = score_sweep(noisy, settings(), THRESHOLDS, known)
    assert [s.vi for _, s in one] != [s.vi for _, s in found]  # borders do count


def test_the_truth_of_several_blocks_is_of_their_box(noisy: Float32) -> None:
    blocks = cuts(noisy, settings())
    with pytest.raises(BadDataError, match="shape"):
        score_blocks(GRID, blocks, THRESHOLDS, np.ones((3, 3, 3), np.uint32), Rule())


# --- the exact method


EXACT = ExactSettings(0.5, s2=20, s_min=6)


def exact_alone(affinity: NDArray[np.uint8], threshold: float) -> NDArray[np.uint32]:
    shape = vec3(affinity.shape[1:])
    high = tuple(np.zeros([s for a, s in enumerate(shape) if a != d], np.uint8) for d in range(3))
    place = Place(0, (0, 0, 0), shape, ((False, False),) * 3)
    given = replace(EXACT, threshold=threshold)
    return segment_block_exact(affinity.copy(), high, place, given).labels  # type: ignore[arg-type]


def test_labels_and_scores_of_the_exact_method_are_those_of_each_threshold_alone(
    truth: NDArray[np.uint32],
) -> None:
    affinity = affinities(truth, noise=0.35)
    known = truth.astype(np.uint64)
    known[:3] = 0
    layers = list(exact_sweep(affinity.copy(), EXACT, THRESHOLDS))
    scores = score_exact_sweep(affinity.copy(), EXACT, THRESHOLDS, known)
    assert [t for t, _ in layers] == [t for t, _ in scores] == sorted(THRESHOLDS, reverse=True)
    for (threshold, layer), (_, score) in zip(layers, scores, strict=True):
        expected = exact_alone(affinity, threshold)
        assert np.array_equal(layer.labels, expected) and layer.count == expected.max()
        alone = evaluate(expected, known)
        assert (score.segments, score.objects, score.voxels) == (
            alone.segments,
            alone.objects,
            alone.voxels,
        )
        assert (score.vi_split, score.vi_merge, score.arand) == pytest.approx(
            (alone.vi_split, alone.vi_merge, alone.arand), abs=1e-12
        )
    assert len({layer.count for _, layer in layers}) > 3


def test_small_objects_of_the_exact_method_are_background(truth: NDArray[np.uint32]) -> None:
    affinity = affinities(truth, noise=0.35)
    found = score_exact_sweep(affinity.copy(), EXACT, THRESHOLDS, truth, 300)
    for threshold, score in found:
        labels = exact_alone(affinity, threshold)
        labels[np.bincount(labels.ravel())[labels] < 300] = 0
        alone = evaluate(labels, truth)
        assert score.vi == pytest.approx(alone.vi, abs=1e-12)
        assert score.segments == alone.segments


def test_the_exact_method_without_foreground_or_thresholds(truth: NDArray[np.uint32]) -> None:
    nothing = np.zeros((3, *SHAPE), np.uint8)
    ((_, score),) = score_exact_sweep(nothing, EXACT, [0.5], truth)
    assert score.vi_split == 0 and score.segments == 1
    with pytest.raises(BadDataError, match="there is no threshold"):
        score_exact_sweep(nothing, EXACT, [], truth)
