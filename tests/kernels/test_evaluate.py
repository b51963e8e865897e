"""Scores: known answers, any cut into blocks, ids of any size, and real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels import evaluate as module
from magneton_tasks.kernels.evaluate import ContingencyTable, evaluate

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def ids(*values: int) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


def test_known_answers_published_with_funlib_evaluate() -> None:
    scores = evaluate(ids(3, 3, 3, 3, 4, 5, 6, 6, 5, 5, 5), ids(1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4))
    assert scores.vi_split == pytest.approx(0.6140806820, abs=1e-10)
    assert scores.vi_merge == pytest.approx(0.7272727273, abs=1e-10)
    assert scores.vi == pytest.approx(scores.vi_split + scores.vi_merge)
    # Sums of squares: of the overlaps 2 2 1 2 2 2, of the segments 4 1 4 2, the objects 2 3 4 2.
    assert scores.arand == pytest.approx(1 - 2 * 21 / (37 + 33))
    assert (scores.voxels, scores.segments, scores.objects) == (11, 4, 4)


@pytest.mark.parametrize(
    ("segmentation", "truth", "split", "merge"),
    [
        (ids(7, 7, 9, 9), ids(1, 1, 2, 2), 0.0, 0.0),  # other names, same objects
        (ids(1, 1, 2, 2), ids(5, 5, 5, 5), 1.0, 0.0),  # one object in two halves: one bit
        (ids(5, 5, 5, 5), ids(1, 1, 2, 2), 0.0, 1.0),  # two objects joined: one bit
        (ids(0, 0, 1, 1), ids(5, 5, 5, 5), 1.0, 0.0),  # background is an object of its own
        (ids(1, 1, 2, 2, 8, 9), ids(1, 1, 2, 2, 0, 0), 0.0, 0.0),  # unlabelled is left out
    ],
)
def test_split_and_merge(
    segmentation: NDArray[np.uint64], truth: NDArray[np.uint64], split: float, merge: float
) -> None:
    scores = evaluate(segmentation, truth)
    assert (scores.vi_split, scores.vi_merge) == pytest.approx((split, merge))


def test_perfect_agreement_is_zero_not_a_rounding_error() -> None:
    truth = np.random.default_rng(0).integers(1, 50, (20, 30, 40)).astype(np.uint64)
    scores = evaluate(truth + np.uint64(2**63), truth)
    assert 0 <= scores.vi_split < 1e-12
    assert 0 <= scores.vi_merge < 1e-12
    assert scores.arand == pytest.approx(0)


def made_up(seed: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Boxes of labels of which some are wrong, with ids beyond 2^53 and 2^63."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 40, (8, 8, 8)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    segmentation = truth.astype(np.uint64) + np.uint64(2**63)
    wrong = rng.random(truth.shape) < 0.1
    segmentation[wrong] = rng.integers(0, 10, int(wrong.sum())).astype(np.uint64)
    return segmentation, truth.astype(np.uint32)


@pytest.mark.parametrize("rows_that_wait", [0, 100, 1 << 20])
def test_blocks_give_the_scores_of_the_whole(
    rows_that_wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmentation, truth = made_up(0)
    monkeypatch.setattr(module, "_MIN_WAITING_ROWS", rows_that_wait)
    table = ContingencyTable()
    for z in (24, 0, 8, 16):  # any order
        for y in range(0, 32, 7):
            cut = np.s_[z : z + 8, y : y + 7]
            table.add(segmentation[cut], truth[cut])
    assert table.scores() == evaluate(segmentation, truth)


def test_scores_may_be_asked_for_between_blocks() -> None:
    segmentation, truth = made_up(1)
    table = ContingencyTable()
    table.add(segmentation[:16], truth[:16])
    assert table.scores() == evaluate(segmentation[:16], truth[:16])
    table.add(segmentation[16:], truth[16:])
    assert table.scores() == evaluate(segmentation, truth)


def test_ids_near_each_other_beyond_2_to_the_53_stay_apart() -> None:
    big = 2**53
    assert evaluate(ids(big, big + 1), ids(1, 1)).vi_split == pytest.approx(1)


def test_memory_is_bound_by_pairs_not_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MIN_WAITING_ROWS", 10)
    segmentation, truth = made_up(2)
    table = ContingencyTable()
    for _ in range(20):
        table.add(segmentation, truth)
    held = table._table[0].size + table._waiting_rows
    assert held <= 3 * len({*zip(segmentation.flat, truth.flat, strict=True)})


def test_arand_against_a_count_of_all_pairs_of_voxels() -> None:
    rng = np.random.default_rng(3)
    segmentation, truth = rng.integers(0, 5, 60), rng.integers(1, 5, 60)
    same_segment = segmentation[:, None] == segmentation
    same_object = truth[:, None] == truth
    both = (same_segment & same_object).sum()
    precision, recall = both / same_segment.sum(), both / same_object.sum()
    f_score = 2 * precision * recall / (precision + recall)
    assert evaluate(segmentation, truth).arand == pytest.approx(1 - f_score)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(BadDataError, match=r"\(2,\).*\(3,\)"):
        evaluate(ids(1, 2), ids(1, 2, 3))


def test_truth_without_labels_is_refused() -> None:
    with pytest.raises(BadDataError, match="no voxel of the truth is labelled"):
        evaluate(ids(1, 2), ids(0, 0))


@pytest.mark.parametrize("bad", [np.array([0.5, 1.0]), np.array([-1, 1])])
def test_what_is_no_id_is_refused(bad: NDArray[np.integer]) -> None:
    with pytest.raises(BadDataError, match="segmentation"):
        evaluate(bad, ids(1, 1))


@pytest.mark.parametrize(
    ("file", "aff_thresholds", "score", "split", "merge", "arand"),
    [
        ("pub128.npz", (0.05, 0.99), 0.7, 0.474, 0.295, 0.151),
        ("real_gala_train.npz", (0.01, 0.99), 0.85, 0.556, 0.500, 0.155),
    ],
)
def test_published_scores_of_real_data(
    file: str,
    aff_thresholds: tuple[float, float],
    score: float,
    split: float,
    merge: float,
    arand: float,
) -> None:
    """The table beside the data; its thresholds are waterz's own, on the score 1 - affinity."""
    if not (SHARED_DATA / file).exists():
        pytest.skip(f"{file} is not there: shared test data is absent")
    import waterz

    with np.load(SHARED_DATA / file) as data:
        affinity, truth = data["affs"].astype(np.float32) / 255, data["labels"]
    segmentation = next(
        iter(
            waterz.agglomerate(
                affinity,
                [score],
                aff_threshold_low=aff_thresholds[0],
                aff_threshold_high=aff_thresholds[1],
            )
        )
    )
    scores = evaluate(np.asarray(segmentation), truth)
    assert (scores.vi_split, scores.vi_merge) == pytest.approx((split, merge), abs=6e-4)
    assert scores.arand == pytest.approx(arand, abs=6e-4)
