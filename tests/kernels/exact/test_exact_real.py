"""The exact method on real affinities: any grid equals one block, and waterz agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from magneton_tasks.base.geometry import Vec3, vec3
from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.evaluate import evaluate
from magneton_tasks.kernels.exact.rounds.tables import NO_SCORE
from tests.helpers.exact.rounds_in_memory import run_rounds, segment_whole, segmentations
from tests.helpers.exact.whole import one_block, regular, same

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
NAMES = ("pub128", "real_gala_train")
#: Where the VI against the truth is least, and one that leaves small regions.
#: Blocks per axis of the groups of each round.
ALL_AT_ONCE: list[Vec3] = [(1 << 20,) * 3]
BY_TWOS: list[Vec3] = [(1, 1, 1), (2, 2, 2), (1 << 20,) * 3]
THRESHOLDS = {"pub128": (0.3, 0.6), "real_gala_train": (0.15, 0.5)}
#: Bits by which waterz's mean affinity may differ: it breaks ties of scores, which 8-bit affinities
#: often have, in an order of its own.
MOST_VI = {"pub128": 0.006, "real_gala_train": 1e-12}  # the sum of logarithms rounds


#: of blocks
SIZES: tuple[Vec3, ...] = ((64, 64, 64), (32, 64, 50), (19, 31, 27))


def real_affinity(name: str) -> npt.NDArray[np.uint8]:
    """uint8 (3, z, y, x); skips where it isn't there."""
    path = SHARED_DATA / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there: shared test data is absent")
    with np.load(path) as data:
        affinity: npt.NDArray[np.uint8] = data["affs"]
    return affinity


def shape_of(affinity: npt.NDArray[np.uint8]) -> Vec3:
    return vec3(affinity.shape[1:])


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="default"),
        pytest.param({"s2": 0, "s_min": 0, "t_high": 255}, id="bare", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    ("name", "edge", "sizes"),
    [
        ("real_gala_train", None, SIZES[1:]),
        ("pub128", 72, SIZES[1:2]),
        pytest.param("real_gala_train", None, SIZES, marks=pytest.mark.long),
        pytest.param("pub128", None, SIZES, marks=pytest.mark.long),
    ],
)
def test_any_grid_equals_one_block(
    name: str, edge: int | None, sizes: tuple[Vec3, ...], settings: dict[str, int]
) -> None:
    affinity = real_affinity(name)[:, :edge, :edge, :edge]
    shape = shape_of(affinity)
    chosen = ExactSettings(THRESHOLDS[name][0], **settings)
    whole = segment_whole(affinity, one_block(shape), chosen)
    assert len(np.unique(whole)) > 50
    for size in sizes:
        cuts = regular(shape, size)
        for found in segmentations(affinity, cuts, chosen, [ALL_AT_ONCE, BY_TWOS]):
            assert same(whole, found), size


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_is_cut_out_of_any_grid(name: str) -> None:
    affinity = real_affinity(name)[:, :72, :100, :100]
    shape = shape_of(affinity)
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    mask = z**2 + y**2 + x**2 < 1.2
    settings = ExactSettings(THRESHOLDS[name][1])
    whole = segment_whole(affinity, one_block(shape), settings, mask=mask)
    assert (whole[~mask] == 0).all() and len(np.unique(whole)) > 50
    cuts = regular(shape, (30, 40, 50))
    assert same(whole, segment_whole(affinity, cuts, settings, BY_TWOS, mask))


@pytest.mark.parametrize("name", NAMES)
def test_waterz_agrees_on_the_same_supervoxels(name: str) -> None:
    import waterz

    affinity = real_affinity(name)
    shape = shape_of(affinity)
    bare = ExactSettings(1.0, s2=0)
    _, supervoxels = np.unique(
        run_rounds(affinity, one_block(shape), bare).cut(NO_SCORE), return_inverse=True
    )
    thresholds = sorted(THRESHOLDS[name], reverse=True)
    steps = waterz.agglomerate(
        affinity.astype(np.float32) / np.float32(255),
        [1 - threshold for threshold in thresholds],
        fragments=supervoxels.reshape(shape).astype(np.uint64),
        scoring_function="OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>",
        discretize_queue=0,
    )
    for threshold in thresholds:
        theirs = np.array(next(steps))
        ours = segment_whole(affinity, regular(shape, (64, 64, 64)), ExactSettings(threshold, s2=0))
        # Zero as a truth isn't scored.
        assert evaluate(theirs, ours + 1).vi <= MOST_VI[name], threshold
