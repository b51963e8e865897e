"""The threshold from the map is that of the whole map: pool takes it, and all after pool follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.kernels.exact.map_threshold import LEVELS
from magneton_tasks.outcome import current
from magneton_tasks.outcome.report_facts import volume
from magneton_tasks.stages.planning import group_work, map_samples
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.exact.oracle import oracle
from tests.helpers.exact.real_data import needs_shared_data, pub128
from tests.helpers.volumes import Array, Run, same_partition
from tests.stages.test_map_threshold_runs import (
    guessed,
    make,
    planned,
    rewrite,
    tissue,
    work_of,
)

pytestmark = pytest.mark.usefixtures("childless")
SHAPE: Vec3 = (24, 36, 32)
WHOLE = list(SHAPE)


@pytest.fixture
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a large volume: one box of 16^3 is all that plan looks at."""
    monkeypatch.setattr(map_samples, "WHOLE_VOXELS", 1)
    monkeypatch.setattr(map_samples, "EDGE_VOX", 16)
    monkeypatch.setattr(map_samples, "MOST_BOXES", 1)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make tasks of rounds hold few rows, whatever memory allows."""
    return lambda rows: monkeypatch.setattr(group_work, "budget_of", lambda *_: rows)


def recalibrated(array: Array, g: float) -> Array:
    return np.asarray(255 * (array / 255) ** g, np.uint8)


def two_halves(shape: Vec3 = SHAPE) -> Array:
    """Of two calibrations, so a part says little of the whole."""
    array, third = tissue(0.25, 5, shape), shape[2] // 3
    array[:, :, :, :third] = recalibrated(array, 0.3)[:, :, :, :third]
    return array


def blurred() -> Array:
    return np.asarray(gaussian_filter(tissue(0.6, 7, SHAPE).astype(float), (0, 1, 1, 1)), np.uint8)


def in_planes() -> Array:
    """Long flat cells, worse along z."""
    labels = volumes.cells((SHAPE[0] * 3, SHAPE[1], SHAPE[2]), 50, 9)[::3]
    array = volumes.affinities(labels, 0.3, 9)
    array[0] //= 2
    return array


def threshold_in_record(run: Run) -> Any:
    return run.records("pool")[0].info["threshold"]


# ------------------------------------------------------------------ to the bit
@pytest.mark.parametrize(
    "source", [two_halves, pytest.param(blurred, marks=pytest.mark.long), in_planes]
)
def test_it_is_the_same_to_the_bit_on_any_grid(
    tmp_path: Path, small_groups: Callable[[int], None], source: Callable[[], Array]
) -> None:
    array, found = source(), list[Any]()
    for n, (block, rows) in enumerate(
        [(WHOLE, 10**9), ([12, 18, 16], 10**9), ([9, 13, 32], 200), ([24, 18, 13], 1)]
    ):
        small_groups(rows)
        run = volumes.run_pipeline(
            make(tmp_path / str(n), array, block={"size": block}, exact={"s2": 40})
        )
        found.append((threshold_in_record(run), volumes.read_segmentation(run)))
    chosen, labels = found[0]
    assert LEVELS[10] < chosen["value"] < LEVELS[-10]
    for other, others in found[1:]:
        assert other == chosen  # all floats of it
        assert same_partition(others, labels)


@needs_shared_data
def test_pub128_has_it_of_the_whole_on_two_grids(tmp_path: Path) -> None:
    array, found = pub128()[:, :64, :80, :80], list[Any]()
    for n, block in enumerate(([64, 80, 80], [32, 40, 50])):
        config = make(tmp_path / str(n), array, block={"size": block})
        found.append(threshold_in_record(volumes.run_pipeline(config)))
    assert found[0] == found[1]


# ------------------------------------------------------------------ who follows it
@pytest.mark.usefixtures("few_samples")
def test_samples_decide_nothing(tmp_path: Path, cli: Caller) -> None:
    array = two_halves((32, 48, 44))
    config = make(tmp_path / "map", array, block={"size": [32, 24, 44]})
    shown, guess = cli("run", config, "--dry-run").out, guessed(config)
    run = volumes.run_pipeline(config)
    chosen = run.attempt.threshold
    assert guess.is_guess and not chosen.is_guess
    assert abs(guess.number - chosen.number) >= 0.05, "here samples say little"
    assert f"threshold from the map (samples say about {guess.value:g}): contacts" in shown
    fixed = make(
        tmp_path / "fixed",
        array,
        block={"size": [32, 24, 44]},
        segment={"threshold": chosen.value},
    )
    labels = volumes.read_segmentation(run)
    assert (volumes.read_segmentation(volumes.run_pipeline(fixed)) == labels).all()
    assert volumes.read_owner(config)["threshold"] == chosen.value
    assert volume(run.attempt)["threshold"]["value"] == chosen.value
    for command in ("status", "cut"):
        told = cli(command, config, "--json").json["threshold"]
        assert (told["value"], told["is_guess"]) == (chosen.value, False), command
    report = json.loads(run.attempt.paths.report.read_text())
    assert report["volume"]["threshold"]["value"] == chosen.value
    assert report["pool"]["objects"] == np.unique(labels[labels > 0]).size
    again = planned(config, "again")
    assert again.threshold == chosen and again.nothing_to_do
    assert current.as_planned_now(run.attempt, config).changes == ()


def test_the_labels_are_the_oracle_s_at_that_threshold(tmp_path: Path) -> None:
    from magneton_tasks.config.settings import exact_settings

    array = tissue(0.3, 2, (10, 16, 14))
    config = make(tmp_path, array, block={"size": [6, 9, 14]}, exact={"s2": 20})
    run = volumes.run_pipeline(config)
    chosen = run.attempt.threshold
    expected = oracle(array, exact_settings(run.attempt.config, chosen.number))
    assert same_partition(volumes.read_segmentation(run), expected)


def test_the_lowest_cut_there_is_is_taken_with_a_warning(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path, tissue(), exact={"lowest_threshold": 0.6})
    assert guessed(config).number < 0.5
    run = volumes.run_pipeline(config)
    assert run.attempt.threshold.value == 0.6
    (warning,) = [w for w in run.attempt.threshold.warnings if "exact.lowest_threshold" in w]
    assert f"WARNING: {warning}" in cli("status", config).out


# ------------------------------------------------------------------ it stays with the result
def halved(array: Array) -> Array:
    return np.asarray(array // 2 + 127, np.uint8)


def test_changed_chunks_keep_it_and_a_restart_takes_the_new_one(
    tmp_path: Path, cli: Caller
) -> None:
    config = make(tmp_path, input={"identity": "chunks"})
    first = volumes.run_pipeline(config, run="first").attempt.threshold
    rewrite(config, halved(tissue()))
    kept = volumes.run_pipeline(config, run="kept")
    chosen = kept.attempt.threshold
    assert kept.made("segment") and (chosen.value, chosen.between) == (first.value, first.between)
    assert chosen.now is not None and chosen.now > first.number + 0.1
    assert any("a run with --restart takes the new one" in w for w in chosen.warnings)
    assert f"its own threshold is now {chosen.now:g}" in cli("status", config).out
    low = volumes.read_segmentation(kept)
    anew = volumes.run_pipeline(config, run="anew", restart=True)
    assert (anew.attempt.threshold.value, anew.attempt.threshold.now) == (chosen.now, None)
    assert volumes.read_owner(config)["threshold"] == chosen.now
    assert (volumes.read_segmentation(anew) != low).any()
    assert planned(config, "after").threshold == anew.attempt.threshold


def test_what_was_cut_at_another_threshold_does_not_count(tmp_path: Path, cli: Caller) -> None:
    """The blocks are the same, and so are the rounds: the threshold alone differs."""
    config = make(tmp_path, input={"identity": "chunks"})
    volumes.run_pipeline(config, run="first")
    rewrite(config, halved(tissue()))
    volumes.run_pipeline(config, run="kept")
    pooled = volumes.run_pipeline(
        config, run="pooled", restart=True, stages=("segment", "pool")
    ).attempt.threshold
    stages = {s["stage"]: s for s in cli("status", config, "--json").json["stages"]}
    assert (stages["cut"]["stale"], stages["apply"]["done"]) == (0, 0)
    assert stages["apply"]["stale"] == stages["apply"]["total"]
    last = volumes.run_pipeline(config, run="last")
    assert last.made("segment") == set() and last.made("apply")
    other = make(tmp_path / "fixed", halved(tissue()), segment={"threshold": pooled.value})
    fixed = volumes.run_pipeline(other)
    assert (volumes.read_segmentation(last) == volumes.read_segmentation(fixed)).all()


def test_another_grid_and_other_settings_of_pool_keep_it(tmp_path: Path) -> None:
    config = make(tmp_path, input={"identity": "chunks"})
    first = volumes.run_pipeline(config, run="first").attempt.threshold
    rewrite(config, halved(tissue()))
    others: list[dict[str, object]] = [
        {"block.size": [48, 33, 64]},
        {"segment.min_size_vox": 40},
    ]
    for n, sets in enumerate(others):
        run = volumes.run_pipeline(config, sets, run=f"other-{n}")
        assert run.attempt.threshold.value == first.value


def test_a_pool_that_is_lost_is_made_again_and_nothing_is_written(tmp_path: Path) -> None:
    config = make(tmp_path)
    first = volumes.run_pipeline(config, run="first")
    for records in first.attempt.stage_dir("pool").rglob("*"):
        if records.is_file():
            records.unlink()
    again = volumes.run_pipeline(config, run="again")
    assert again.attempt.threshold == first.attempt.threshold
    assert again.made("segment") == set()
    chunks = {k: r.info["chunks"] for k, r in first.records("apply").items()}
    assert {k: r.info["chunks"] for k, r in again.records("apply").items()} == chunks
    work_of(config).thresholds.unlink()
    assert planned(config, "unknown").threshold.value is None
    assert again.attempt.threshold == first.attempt.threshold
