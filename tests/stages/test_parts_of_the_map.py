"""Parts of a map that ask for different thresholds are told, with their places; others aren't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from magneton_tasks.kernels.exact import part_thresholds
from magneton_tasks.kernels.exact.rounds import places
from magneton_tasks.outcome import report_facts
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run
from tests.stages.test_map_threshold_runs import guessed, make, planned, tissue

pytestmark = pytest.mark.usefixtures("childless")

SHAPE = (32, 48, 88)
HALF = 44
#: The low and the high half, as `magneton try` takes a box.
LOW, HIGH = "7:39,-16:32,300:344", "7:39,-16:32,344:388"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a large volume: two parts, along x."""
    monkeypatch.setattr(places, "LEAST_EDGE_VOX", HALF)
    monkeypatch.setattr(part_thresholds, "LEAST_CONTACTS", 5_000)


def raised() -> Array:
    """The low half as of another calibration."""
    array = tissue(0.2, 3, SHAPE)
    array[..., :HALF] = 127 + array[..., :HALF] // 2
    return array


def grainy() -> Array:
    """The low half is no tissue, but dark noise."""
    array = tissue(0.2, 3, SHAPE)
    low = array[..., :HALF]
    low[:] = np.random.default_rng(0).integers(0, 31, low.shape)
    return array


def run_of(folder: Path, array: Array) -> Run:
    return volumes.run_pipeline(
        make(folder, array, block={"size": [32, 24, HALF]}, exact={"s2": 40})
    )


def told(run: Run) -> list[str]:
    return [w for w in run.attempt.threshold.warnings if "differs over the volume" in w]


def test_two_calibrations_are_told_with_both_places(
    tmp_path: Path, cli: Caller, capfd: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path / "whole", raised())
    low, high = run.attempt.threshold.places
    assert (low.box, high.box) == (LOW, HIGH)
    assert low.value > high.value + 0.2
    for name, part in (("low", np.s_[..., :HALF]), ("high", np.s_[..., HALF:])):
        alone = guessed(
            make(tmp_path / name, np.ascontiguousarray(raised()[part]), exact={"s2": 40})
        )
        of_part = low if name == "low" else high
        assert abs(alone.number - of_part.value) < 0.1, "as if it were a volume of its own"
    (warning,) = told(run)
    assert f"for {high.value:g} at {HIGH} and for {low.value:g} at {LOW}" in warning
    assert "mask.path" in warning and f"segment.threshold: {low.value:g}" in warning
    assert f"pool: WARNING: {warning}" in capfd.readouterr().out
    config = Path(run.plan.config_path)
    assert f"WARNING: {warning}" in cli("status", config).out
    assert warning in report_facts.volume(run.attempt)["threshold"]["warnings"]
    assert run.records("pool")[0].info["threshold"]["places"][0]["box"] == LOW
    again = planned(config, "again")
    assert again.nothing_to_do and again.threshold == run.attempt.threshold
    fixed = planned(config, "fixed", sets={"segment.threshold": low.value})
    assert not fixed.work["segment"].todo and fixed.work["pool"].todo, "as the warning says"


def test_of_a_dark_grainy_place_it_is_told_that_nothing_is_there(tmp_path: Path) -> None:
    run = run_of(tmp_path, grainy())
    (warning,) = told(run)
    assert f"insides of objects and contacts hardly differ at {LOW}: look there" in warning
    assert [place.has_contrast for place in run.attempt.threshold.places] == [False, True]


def test_of_one_map_nothing_is_told(tmp_path: Path) -> None:
    run = run_of(tmp_path, tissue(0.2, 3, SHAPE))
    assert len(run.attempt.threshold.places) == 2 and told(run) == []
