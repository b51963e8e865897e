"""``magneton cut CONFIG``: the curve over all thresholds, from what pool wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magneton_tasks.cli.trials.text_plot import ROWS, plot
from magneton_tasks.formats import volume as opened
from magneton_tasks.plan.plan import ThresholdChoice
from magneton_tasks.work import threshold_of
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.volumes import Array, Run

pytestmark = pytest.mark.usefixtures("childless")

SHAPE = (24, 40, 36)
SETTINGS: dict[str, Any] = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [12, 20, 18]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run at .5 in 2 x 2 x 2 blocks; nobody writes here again."""
    array = volumes.affinities(volumes.cells(SHAPE, 30, 3), noise=0.5, seed=3)
    folder = tmp_path_factory.mktemp("cut")
    return volumes.run_pipeline(volumes.make_volume(folder, array, SETTINGS), run="first")


@pytest.fixture
def config(base: Run, tmp_path: Path) -> Path:
    """Of a copy of its work directory."""
    source = Path(base.plan.config_path).parent
    shutil.copytree(source / "work", tmp_path / "work")
    return volumes.write_config(tmp_path, SETTINGS, input=f"file://{source}/affinity")


def report_of(config: Path) -> Path:
    (found,) = (config.parent / "work").glob("pool-*/report.json")
    return found


def sizes_of(voxels: Array) -> dict[int, int]:
    ids, counts = np.unique(voxels[voxels > 0], return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No volume may be opened."""
    monkeypatch.setattr(opened, "open_volume", lambda *_, **__: pytest.fail("a volume was opened"))


@pytest.mark.usefixtures("closed")
def test_the_table_tells_what_a_run_at_that_threshold_leaves(
    base: Run, config: Path, cli: Caller
) -> None:
    sizes = sizes_of(volumes.read_segmentation(base))
    shown = cli("cut", config, "--json").json
    at = next(level for level in shown["levels"] if level["threshold"] == 0.5)
    assert at["objects"] == len(sizes)
    assert shown["voxels"] == sum(sizes.values())
    assert at["largest_share"] == pytest.approx(max(sizes.values()) / sum(sizes.values()))
    assert sum(at["size_classes"]) == len(sizes)
    assert {x["id"]: x["voxels"] for x in at["largest"]}.items() <= sizes.items()
    assert [x["voxels"] for x in at["largest"]] == sorted(sizes.values())[::-1][:10]


def test_what_it_says_of_another_threshold_is_what_the_next_run_makes(
    config: Path, cli: Caller
) -> None:
    asked = cli("cut", config, "--threshold", ".62", "--json").json["asked"]
    run = volumes.run_pipeline(config, {"segment.threshold": 0.62}, run="second")
    assert run.made("segment") == set()
    sizes = sizes_of(volumes.read_segmentation(run))
    assert (asked["threshold"], asked["objects"]) == (0.62, len(sizes))
    assert {x["id"]: x["voxels"] for x in asked["largest"]}.items() <= sizes.items()


def test_a_person_sees_curves_a_table_and_the_largest(config: Path, cli: Caller) -> None:
    plain = cli("cut", config)
    assert plain.code == 0
    for words in (
        "first, attempt 1",
        "objects over the threshold",
        "largest object's share of the segmented voxels",
        "<- the run's",
        "--threshold .35",
    ):
        assert words in plain.out
    done = cli("cut", config, "--threshold", ".333")
    assert "at 0.33, the level next below 0.333: " in done.out
    asked = cli("cut", config, "--threshold", ".333", "--json").json["asked"]
    for row in asked["largest"]:
        assert f"{row['id']}" in done.out and f"{row['voxels']:,}" in done.out
    listed = done.out.partition("voxels of an object")[2].split("\n")[1:]
    assert sum(int(x.split()[-1].replace(",", "")) for x in listed if x) == asked["objects"]


def test_it_repeats_what_pool_warned_of(
    config: Path, cli: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "WARNING" not in cli("cut", config).out
    report = json.loads(report_of(config).read_text())
    report_of(config).write_text(json.dumps(report | {"warning": "one object holds nearly all"}))
    doubt = "the affinities look inverted"
    chosen = ThresholdChoice(0.5, "map", warnings=(doubt,))
    monkeypatch.setattr(threshold_of, "result", lambda *_: chosen)
    warnings = cli("cut", config, "--json").json["warnings"]
    assert warnings == [doubt, "one object holds nearly all"]
    lines = cli("cut", config).out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if "WARNING" in line] == warnings


def test_the_median_object_lies_in_the_class_that_is_told(
    base: Run, config: Path, cli: Caller
) -> None:
    sizes = sorted(sizes_of(volumes.read_segmentation(base)).values())
    lines = cli("cut", config).out.splitlines()
    (head,) = (line for line in lines if "size class of the median object" in line)
    (row,) = (line for line in lines if "<- the run's" in line)
    low, _, high, *_ = row[head.index("size class") :].replace(",", "").split()
    assert int(low) <= sizes[(len(sizes) - 1) // 2] <= int(high)


def test_it_begins_where_blocks_stopped_merging(config: Path, cli: Caller) -> None:
    assert cli("cut", config, "--json").json["levels"][0]["threshold"] == 0.05
    refused = cli("cut", config, "--threshold", ".04")
    assert refused.code == 78
    assert "exact.lowest_threshold: 0.04" in refused.err


def test_a_newer_attempt_without_a_pool_leaves_the_curve_of_before(
    config: Path, cli: Caller
) -> None:
    volumes.release(volumes.plan_run(config, {"exact.s2": 30}, run="other"))
    done = cli("cut", config)
    assert "first, attempt 1" in done.out
    assert "a newer attempt was planned that has no pool yet" in done.out


def test_no_pool_yet(config: Path, cli: Caller) -> None:
    report_of(config).unlink()
    done = cli("cut", config)
    assert done.code == 66
    assert "has come to its pool yet" in done.err and "magneton status" in done.err
    shutil.rmtree(config.parent / "work")
    done = cli("cut", config)
    assert done.code == 66
    assert "holds no run yet" in done.err
    assert cli("cut", config.parent / "none.yaml").code == 66


def test_overlap_has_no_curve(config: Path, cli: Caller) -> None:
    volumes.write_config(config.parent)
    done = cli("cut", config)
    assert done.code == 78
    assert "method: exact" in done.err


@pytest.mark.parametrize("damage", ["{", "{}", '{"curve": {"sums": []}}', "no levels"])
def test_a_damaged_report_says_what_writes_it_again(config: Path, cli: Caller, damage: str) -> None:
    path = report_of(config)
    if damage == "no levels":
        report = json.loads(path.read_text())
        report["curve"]["objects"].pop()
        damage = json.dumps(report)
    path.write_text(damage)
    done = cli("cut", config)
    assert done.code == 65
    assert str(path) in done.err and "--restart --stages pool" in done.err


def test_a_volume_without_a_voxel_to_segment(tmp_path: Path, cli: Caller) -> None:
    empty = volumes.make_volume(
        tmp_path / "empty",
        np.zeros((3, *SHAPE), np.uint8),
        SETTINGS | {"input": {"doubtful": "warn"}},
    )
    volumes.run_pipeline(empty)
    done = cli("cut", empty, "--threshold", ".5")
    assert done.code == 0
    assert "at 0.5: 0 objects" in done.out


@pytest.mark.parametrize(
    "wrong",
    [
        ["--threshold", "2"],
        ["--threshold", "nan"],
        ["--threshold", ".2,.3"],
        ["--batch", "0"],
        ["--run", "here"],
    ],
)
def test_what_does_not_go_together_is_a_wrong_use(config: Path, cli: Caller, wrong: str) -> None:
    assert cli("cut", config, *wrong).code == 64
    assert cli("cut").code == 64


# ------------------------------------------------------------------ the drawing
def test_a_drawing_shows_each_value_where_it_lies() -> None:
    lines = list(plot([0.0, 0.5, 1.0], [100.0, 10.0, 1.0], 0.5, lambda v: f"{v:g}", is_log=True))
    assert lines[0].startswith("100 |*") and lines[ROWS // 2].rstrip().endswith("*")
    middle = lines[ROWS // 2].index("*")
    assert all(line[middle] == "|" for n, line in enumerate(lines[:ROWS]) if n != ROWS // 2)
    assert lines[ROWS - 1].startswith("  1 |") and lines[ROWS - 1].endswith("*")
    flat = list(plot([0.2, 0.4], [5.0, 5.0], 0.9, lambda v: f"{v:g}"))
    assert flat[ROWS - 1].count("*") == 2 or flat[ROWS - 1].endswith("*")
