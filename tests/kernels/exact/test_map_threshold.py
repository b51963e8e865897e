"""The threshold from the map: against its definition by labels, which knows no sums."""

from __future__ import annotations

from itertools import product
from math import asin, log2, sqrt
from typing import Any

import numpy as np
import pytest

from magneton_tasks.base.methods import ExactSettings
from magneton_tasks.kernels.exact import map_threshold
from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations
from magneton_tasks.kernels.exact.map_threshold import (
    EDGE_COUNT,
    EDGE_SUM,
    ENTROPY,
    ENTROPY_UNIT,
    LEVELS,
    ThresholdSums,
    choose,
)
from magneton_tasks.kernels.exact.threshold_sums import threshold_sums
from tests.helpers.exact.real_data import needs_shared_data, real
from tests.helpers.exact.volumes import volume
from tests.helpers.volumes import Array, affinities, cells

SETTINGS = ExactSettings(0.5, s2=8, s_min=3)
CASES = [
    ("noise", 0),
    ("few", 1),
    ("two", 2),
    ("smooth", 3),
    ("cells", 4),
    ("coarse", 5),
    ("smooth", 6),
]


def noisy_cells(noise: float = 0.3, seed: int = 0) -> Array:
    """Voronoi cells of 30 x 40 x 40 voxels, blurred by noise."""
    return affinities(cells((30, 40, 40), 30, seed), noise, seed)


# ------------------------------------------------------------------ by the definition
def cut(affinity: Array, threshold: float, settings: ExactSettings) -> Array:
    ((labels, _),) = exact_segmentations(affinity.copy(), settings, [threshold])
    return labels


def voxel_edges(affinity: Array, labels: Array) -> dict[bool, list[int]]:
    """[sum, number] of the voxel edges between two objects (False) and inside one (True)."""
    found = {False: [0, 0], True: [0, 0]}
    for d in range(3):
        here, behind = (np.moveaxis(labels, d, 0)[s] for s in (slice(1, None), slice(None, -1)))
        values = np.moveaxis(affinity[d], d, 0)[1:].astype(np.int64)
        for same in (False, True):
            chosen = (here > 0) & (behind > 0) & ((here == behind) == same)
            found[same][0] += int(values[chosen].sum())
            found[same][1] += int(chosen.sum())
    return found


def entropy(labels: Array) -> float:
    """Bits, of the sizes of objects."""
    sizes = np.bincount(labels[labels > 0])
    shares = [float(s / sizes.sum()) for s in sizes if s]
    return -sum(p * log2(p) for p in shares)


def mean(sum_count: list[int]) -> float:
    return sum_count[0] / sum_count[1] / 255 if sum_count[1] else 0.0


def by_definition(affinity: Array, settings: ExactSettings) -> dict[str, float]:
    """The rule as it is written, with a segmentation for every level."""
    cuts = [cut(affinity, t, settings) for t in LEVELS]
    edges = [voxel_edges(affinity, c) for c in cuts]
    between, inside = [mean(e[False]) for e in edges], [mean(e[True]) for e in edges]
    bits = [entropy(c) for c in cuts]

    def highest(way: float) -> int:
        return max(
            (
                k
                for k, t in enumerate(LEVELS)
                if asin(sqrt(t)) <= (1 - way) * asin(sqrt(between[k])) + way * asin(sqrt(inside[k]))
            ),
            default=0,
        )

    half, low = highest(0.5), highest(0.2)
    first = at = highest(0.275)
    while at < half and bits[half] - bits[at] > 0.75:
        at += 1
    return {
        "value": LEVELS[at],
        "between": between[at],
        "inside": inside[at],
        "change_bits": bits[half] - bits[at],
        "cliff_bits": max(bits[at] - bits[low], 0.0),
        "low": LEVELS[low],
        "early": at > first,
    }


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_the_sums_are_those_of_the_labels_at_every_level(kind: str, seed: int) -> None:
    affinity = volume(kind, (9, 10, 11), seed)
    sums = threshold_sums(affinity.copy(), SETTINGS)
    start = cut(affinity, 2.0, SETTINGS)  # nothing merges by mean affinity
    edges = voxel_edges(affinity, start)
    assert [sums.contact_sum, sums.contact_count] == edges[False]
    both = zip(edges[False], edges[True], strict=True)
    assert [sums.pair_sum, sums.pair_count] == [a + b for a, b in both]
    assert sums.voxels == np.count_nonzero(start)
    for k in range(0, len(LEVELS), 12):
        labels = cut(affinity, LEVELS[k], SETTINGS)
        merged = sums.bins[:, k:].sum(1)
        left = voxel_edges(affinity, labels)[False]
        assert sums.contact_sum - merged[EDGE_SUM] == left[0], LEVELS[k]
        assert sums.contact_count - merged[EDGE_COUNT] == left[1], LEVELS[k]
        lost = merged[ENTROPY] * ENTROPY_UNIT / max(sums.voxels, 1)
        if sums.voxels:
            assert lost == pytest.approx(entropy(start) - entropy(labels), abs=1e-3), LEVELS[k]


@pytest.mark.parametrize(
    ("affinity", "settings"),
    [
        *((volume(kind, (12, 13, 14), seed), SETTINGS) for kind, seed in CASES),
        *((noisy_cells(noise, seed)[:, :20, :28, :28], ExactSettings(0.5, s2=50)) for seed, noise in enumerate((0.2, 0.4, 0.6))),
    ],
)  # fmt: skip
def test_the_rule_is_what_its_definition_says(
    affinity: Array, settings: ExactSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_threshold, "LEAST_CONTACTS", 0)
    found = choose(threshold_sums(affinity.copy(), settings))
    expected = by_definition(affinity, settings)
    assert found.value == expected["value"]
    assert ("stopped early" in found.warned) == expected.pop("early")
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=2e-3), name


def test_sums_add_up_in_any_order_to_the_last_digit() -> None:
    parts = [threshold_sums(noisy_cells(seed=seed), SETTINGS) for seed in range(4)]
    forward, backward = ThresholdSums.nothing(), ThresholdSums.nothing()
    for one, other in zip(parts, reversed(parts), strict=True):
        forward, backward = forward + one, backward + other
    assert (forward.bins == backward.bins).all() and forward.voxels == backward.voxels
    assert choose(forward) == choose(backward)
    assert forward.bins.dtype == np.int64 and forward.bins.shape == (3, 193)


# ------------------------------------------------------------------ what is doubtful
def sums_of(
    rows: dict[float, tuple[float, int, float]],
    contacts: tuple[float, int],
    inside: tuple[float, int] = (0.9, 10**6),
) -> ThresholdSums:
    """From level -> (mean affinity, voxel edges, bits lost) of its merges; means in [0, 1]."""
    bins = np.zeros((3, len(LEVELS)), np.int64)
    voxels = 10**6
    for level, (p, n, bits) in rows.items():
        bins[:, LEVELS.index(level)] = round(255 * p * n), n, round(bits * voxels / ENTROPY_UNIT)
    contact_sum = round(255 * contacts[0] * contacts[1])
    inside_sum = round(255 * inside[0] * inside[1])
    return ThresholdSums(
        bins, contact_sum + inside_sum, contacts[1] + inside[1], contact_sum, contacts[1], voxels
    )


def test_too_few_contacts_say_nothing() -> None:
    for sums in (ThresholdSums.nothing(), sums_of({}, (0.1, 9_999))):
        assert (choose(sums).value, choose(sums).warned) == (0.5, ("few contacts",))
    assert choose(sums_of({}, (0.1, 10_000))).warned == ()


def test_between_a_tenth_and_nine_tenths_it_lies_eleven_fortieths_of_the_way_in_angles() -> None:
    found = choose(sums_of({}, (0.1, 20_000)))
    angle = 0.725 * asin(sqrt(0.1)) + 0.275 * asin(sqrt(0.9))
    assert found.value == max(t for t in LEVELS if asin(sqrt(t)) <= angle)
    assert [found.between, found.inside] == pytest.approx([0.1, 0.9], abs=1e-3)


def test_it_stops_where_the_segmentation_has_changed_by_three_quarters_of_a_bit() -> None:
    """Merges between the cautious cut and the threshold: each level loses .3 bit."""
    rows = {level: (level, 10, 0.3) for level in (0.32, 0.34, 0.36, 0.38, 0.4)}
    found = choose(sums_of(rows, (0.1, 20_000)))
    assert "stopped early" in found.warned
    assert found.value == 0.365  # above it lie two merges, .6 bit; with that at .36 it were .9
    assert found.change_bits == pytest.approx(0.6)


def test_a_cliff_below_is_warned_of() -> None:
    found = choose(sums_of({0.25: (0.25, 10, 1.2)}, (0.1, 20_000)))
    assert found.low <= 0.25 < found.value
    assert found.warned == ("cliff below",) and found.cliff_bits == pytest.approx(1.2)


def test_poor_contrast_is_warned_of_also_where_no_level_fits() -> None:
    assert choose(sums_of({}, (0.5, 20_000), (0.75, 10**6))).warned == ("poor contrast",)
    dark = choose(sums_of({}, (0.001, 20_000), (0.01, 10**6)))
    assert (dark.value, dark.warned) == (LEVELS[0], ("poor contrast",))


#: version of the rule, threshold, between, inside
GOLDEN = (2, 0.52, 0.435729, 0.674684)


def test_the_same_sums_make_the_same_threshold() -> None:
    """Golden: where this changes, bump `kernels.versions.MAP_THRESHOLD`, or kept thresholds mix with new ones."""
    found = choose(threshold_sums(noisy_cells(0.5), ExactSettings(0.5, s2=50)))
    levels = round(found.between, 6), round(found.inside, 6)
    assert (map_threshold.RULE_VERSION, found.value, *levels) == GOLDEN


# ------------------------------------------------------------------ real maps
DISTORTIONS: dict[str, Any] = {
    "as it is": lambda p: p, "g0.4": lambda p: p**0.4, "g0.6": lambda p: p**0.6,
    "g1.6": lambda p: p**1.6, "g2.5": lambda p: p**2.5, "high": lambda p: 0.5 + p / 2,
    "low": lambda p: p * 127 / 255,
}  # fmt: skip
#: They cost .075 bits of VI on average above the best one of each distorted map, .332 at most.
THRESHOLDS = {
    "pub128": (0.28, 0.425, 0.36, 0.22, 0.175, 0.675, 0.12),
    "real_gala_train": (0.2, 0.42, 0.3, 0.23, 0.335, 0.6, 0.08),
}


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "distortion", "threshold"),
    [(name, d, t) for name, found in THRESHOLDS.items() for d, t in zip(DISTORTIONS, found, strict=True)],
)  # fmt: skip
def test_real_maps_of_any_calibration(name: str, distortion: str, threshold: float) -> None:
    affinity = real(name)["affs"]
    table = np.rint(255 * DISTORTIONS[distortion](np.arange(256) / 255)).astype(np.uint8)
    sums = threshold_sums(table[affinity], ExactSettings(0.5))
    found = choose(sums)
    assert (found.value, found.warned) == (threshold, ())


@needs_shared_data
def test_a_real_map_has_the_levels_that_were_measured() -> None:
    found = choose(threshold_sums(real("pub128")["affs"].copy(), ExactSettings(0.5)))
    assert [found.between, found.inside] == pytest.approx([0.09888, 0.86908], abs=1e-5)
    assert found.change_bits == pytest.approx(0.3457, abs=1e-3)


def test_crops_agree_with_each_other() -> None:
    """The levels are local means: parts of one map ask for about the same."""
    affinity = affinities(cells((64, 64, 64), 200), 0.5)
    found = []
    for z, y, x in product((0, 32), repeat=3):
        box = np.ascontiguousarray(affinity[:, z : z + 32, y : y + 32, x : x + 32])
        found.append(threshold_sums(box, ExactSettings(0.5, s2=50)))
    whole = choose(threshold_sums(affinity.copy(), ExactSettings(0.5, s2=50)))
    total = ThresholdSums.nothing()
    for sums in found:
        total = total + sums
    assert abs(choose(total).value - whole.value) <= 0.02
