"""try and tune: layers and scores against what each threshold gives alone, and what they leave."""

from __future__ import annotations

import itertools
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from magneton_tasks.base.geometry import Box, vec3
from magneton_tasks.base.lease import acquire
from magneton_tasks.cli import main
from magneton_tasks.cli.trials.trying import exact_cuts
from magneton_tasks.config.read import load_config
from magneton_tasks.config.settings import exact_settings, segment_settings
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.metadata import read_metadata
from magneton_tasks.kernels.overlap.segment import segment_block
from magneton_tasks.plan import cost_exact
from magneton_tasks.trials import cost, tuning, tuning_result
from magneton_tasks.trials import trial as trials
from magneton_tasks.trials import try_box as trying
from magneton_tasks.trials.same_cells import matched
from magneton_tasks.trials.tuning_result import Point, best_of
from magneton_tasks.work.guarded import lease_places
from magneton_tasks.work.inputs import open_affinity
from tests.helpers import volumes
from tests.helpers.calls import Caller, Done
from tests.helpers.volumes import OFFSET, SHAPE, Array
from tests.stages.test_map_threshold_runs import guessed

pytestmark = pytest.mark.usefixtures("childless")

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
LIST = ".2,.4,.6,.8"
#: One block, of few fragments: waterz takes nearly all the time of these tests.
WHOLE = {
    "block.size": list(SHAPE),
    "block.overlap": [0, 0, 0],
    "segment.aff_thresholds": [0.05, 0.8],
}
MANY_FRAGMENTS = ("--set", "segment.aff_thresholds=[0.05, 0.99]")
SOME = "15:40,-10:30,310:350"  # inside the volume, aligned to nothing


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Noisy cells in one block, and their truth, with a part that isn't labelled."""
    truth = volumes.cells().astype(np.uint64) * np.uint64(2**40)
    path = volumes.make_volume(tmp_path, volumes.affinities(volumes.cells(), noise=0.35), WHOLE)
    truth[:4] = 0
    volumes.write_precomputed(tmp_path / "truth", truth, layer_type="segmentation")
    return path


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture of the curves, which takes longer than all else, unless the test asks for it."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("magneton_tasks.cli.trials.tuning.draw", lambda *_: b"")


@pytest.fixture
def drawn() -> None:
    """The picture is drawn."""


def truth_of(config: Path) -> str:
    return f"file://{config.parent}/truth"


def alone(config: Path, threshold: float, function: str = "mean", box: Box | None = None) -> Array:
    """What one threshold gives, without any sweep."""
    read = load_config(config)
    reader = open_affinity(read)
    settings = replace(segment_settings(read, threshold), merge_function=function)
    return segment_block(reader.read(box or reader.info.box), settings).labels


def plain_vi(segments: Array, truth: Array) -> tuple[float, float]:
    """VI split and merge in bits by plain counting: H(segments | truth), H(truth | segments)."""
    known = truth > 0
    a, b = segments[known].astype(np.int64), truth[known]
    _, b = np.unique(b, return_inverse=True)

    def entropy(ids: Array) -> float:
        p = np.unique(ids, return_counts=True)[1] / ids.size
        return float(-(p * np.log2(p)).sum())

    both = entropy(a * (int(b.max()) + 1) + b)
    return both - entropy(b), both - entropy(a)


def files_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


# ------------------------------------------------------------------ tune
def test_the_proposal_is_the_minimum_of_an_independent_scan(cli: Caller, config: Path) -> None:
    box = Box((7, -16, 300), (31, 24, 340))  # a quarter: histograms of all of it cost seconds
    spans = ",".join(f"{b}:{e}" for b, e in zip(box.begin, box.end, strict=True))
    given = ("--scoring", "mean,aff50_his256", "--thresholds", "0.1:0.9:0.2", "--box", spans)
    done = cli("tune", config, "--truth", truth_of(config), *given, "--json")
    assert done.code == 0, done.err
    truth = volumes.read_segmentation(truth_of(config), 0, box)
    scanned = {}
    for function in ("mean", "aff50_his256"):
        for k in (1, 3, 5, 7, 9):
            labels = alone(config, round(0.1 * k, 1), function, box)
            scanned[function, round(0.1 * k, 1)] = plain_vi(labels, truth)
    found = {
        (s["merge_function"], s["threshold"]): (s["vi_split"], s["vi_merge"])
        for s in done.json["scores"]
    }
    assert list(found) == list(scanned)  # by function as asked for, then ascending
    for key, expected in scanned.items():
        assert found[key] == pytest.approx(expected, abs=1e-9), key
    least = min(scanned, key=lambda key: (round(sum(scanned[key]), 9), -key[1]))
    best = done.json["best"]
    assert (best["merge_function"], best["threshold"]) == least
    assert best["vi"] == pytest.approx(sum(scanned[least]), abs=1e-9)
    assert len({round(sum(v), 6) for v in scanned.values()}) > 6  # there was something to choose
    assert done.json["labelled_vox"] == int((truth > 0).sum())


def test_the_table_marks_the_best_and_says_how_to_take_it(cli: Caller, config: Path) -> None:
    args = ("tune", config, "--truth", truth_of(config), "--thresholds", LIST)
    best = cli(*args, "--json").json["best"]
    before = config.read_text()
    done = cli(*args)
    assert done.code == 0
    (marked,) = [line for line in done.out.splitlines() if line.endswith("<- best")]
    assert marked.split()[:2] == ["mean", f"{best['threshold']:g}"]
    assert (
        f"best      mean at threshold {best['threshold']:g}: VI {best['vi']:.3f} bits" in done.out
    )
    if best["threshold"] != 0.5:
        assert f"to use it: segment.threshold: {best['threshold']}" in done.out
    assert config.read_text() == before


@pytest.mark.usefixtures("drawn")
def test_of_equal_scores_the_higher_threshold_is_proposed(cli: Caller, tmp_path: Path) -> None:
    # Clean affinities: whatever the threshold, the cells come out as they are.
    config = volumes.make_volume(tmp_path, volumes.affinities(volumes.balls(), noise=0), WHOLE)
    volumes.write_precomputed(tmp_path / "truth", volumes.balls(), layer_type="segmentation")
    done = cli("tune", config, "--truth", truth_of(config), "--thresholds", LIST, "--json")
    assert {s["vi"] for s in done.json["scores"]} == {0}
    assert done.json["best"]["threshold"] == 0.8


def test_ties_by_rounding_are_ties() -> None:
    def point(function: str, threshold: float, vi: float) -> Point:
        return Point(function, threshold, vi, 0.0, 0.1, 5)

    points = [point("mean", 0.3, 0.5), point("mean", 0.4, 0.5 + 1e-14), point("size", 0.4, 0.5)]
    assert best_of(points) == points[1]
    assert best_of([*points, point("mean", 0.1, 0.49)]).threshold == 0.1


def test_write_changes_these_values_and_keeps_the_comments(cli: Caller, config: Path) -> None:
    text = config.read_text().replace("segment:\n", "# how to merge\nsegment:  # tuned by hand\n")
    config.write_text(text)
    args = ("tune", config, "--truth", truth_of(config), "--scoring", "aff75_his256", "--write")
    done = cli(*args, "--thresholds", LIST, "--json")
    assert done.code == 0, done.err
    best = done.json["best"]
    assert done.json["written"] is True
    written = load_config(config).segment
    assert (written.threshold, written.merge_function) == (best["threshold"], "aff75_his256")
    assert "# how to merge\nsegment:  # tuned by hand\n" in config.read_text()
    changed = [
        (a, b)
        for a, b in zip(text.splitlines(), config.read_text().splitlines(), strict=True)
        if a != b
    ]
    assert {a.split(":")[0].strip() for a, _ in changed} <= {"threshold", "merge_function"}
    again = cli(*args, "--thresholds", str(best["threshold"]))
    assert again.code == 0
    assert "says so already" in again.out


@pytest.mark.usefixtures("drawn")
def test_nothing_but_the_picture_is_written(cli: Caller, config: Path) -> None:
    before = files_of(config.parent)
    assert cli("tune", config, "--truth", truth_of(config), "--thresholds", LIST).code == 0
    assert files_of(config.parent) - before == {"volume-tune.png"}
    elsewhere = config.parent / "pictures" / "curves.png"
    args = ("tune", config, "--truth", truth_of(config), "--thresholds", LIST)
    assert cli(*args, "--plot", elsewhere).code == 0
    assert files_of(config.parent) - before == {"volume-tune.png", "pictures/curves.png"}


@pytest.mark.usefixtures("drawn")
def test_the_picture_shows_a_curve_of_its_own_colour_for_each_function(
    cli: Caller, config: Path
) -> None:
    args = ("tune", config, "--truth", truth_of(config), "--scoring", "mean, aff50_his256")
    assert cli(*args, "--thresholds", LIST).code == 0
    with Image.open(config.with_name("volume-tune.png")) as picture:
        assert picture.format == "PNG"
        assert picture.size == (1600, 1800)
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0xF0, 0xE4, 0x42)):  # two, and the star
        assert (pixels == colour).all(1).sum() > 200
    assert (pixels != 255).any(1).mean() < 0.5  # curves on white, no blot


def test_a_truth_of_a_part_of_the_volume_is_scored_where_it_lies(cli: Caller, config: Path) -> None:
    part = Box((10, 0, 310), (38, 40, 350))
    cut = volumes.read_segmentation(truth_of(config), 0, part)
    volumes.write_precomputed(
        config.parent / "part", cut, layer_type="segmentation", voxel_offset=part.begin
    )
    args = ("tune", config, "--truth", f"file://{config.parent}/part", "--thresholds", LIST)
    done = cli(*args, "--json").json
    assert done["box"] == {"begin": list(part.begin), "end": list(part.end)}
    for score in done["scores"]:
        expected = plain_vi(alone(config, score["threshold"], box=part), cut)
        assert (score["vi_split"], score["vi_merge"]) == pytest.approx(expected, abs=1e-9)
    smaller = cli(*args, "--json", "--box", SOME).json
    both = Box((15, 0, 310), (38, 30, 350))
    assert smaller["box"] == {"begin": list(both.begin), "end": list(both.end)}


@pytest.mark.parametrize(
    ("scoring", "box"),
    [
        ("mean", {"begin": [11, -10, 300], "end": [43, 42, 364]}),
        ("exact", {"begin": [17, 1, 300], "end": [37, 31, 364]}),  # one says what several would
    ],
)
def test_the_default_box_is_central_and_of_two_blocks_along_each_axis(
    cli: Caller, config: Path, scoring: str, box: dict[str, list[int]]
) -> None:
    sets = ("--set", "block.size=[20, 30, 64]", "--set", "block.overlap=[4, 4, 0]")
    args = ("tune", config, "--truth", truth_of(config), "--scoring", scoring, *sets)
    assert cli(*args, "--thresholds", LIST, "--json").json["box"] == box


def test_where_several_blocks_need_too_much_memory_the_default_box_is_one(
    cli: Caller, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = tuning.limits

    def small(trial: trials.Trial, functions: list[str]) -> dict[str, int]:
        if trial.box.voxels > 20 * 30 * 64:
            raise ConfigError("too large")
        return limits(trial, functions)

    monkeypatch.setattr(tuning, "limits", small)
    sets = ("--set", "block.size=[20, 30, 64]", "--set", "block.overlap=[4, 4, 0]")
    done = cli("tune", config, "--truth", truth_of(config), "--json", *sets)
    assert done.json["box"] == {"begin": [17, 1, 300], "end": [37, 31, 364]}


def of_one_block(found: Any) -> list[str]:
    """What is said of a box that is one block."""
    return [w for w in found["warnings"] if "is one block" in w]


def test_scores_of_several_blocks_are_those_of_runs(cli: Caller, tmp_path: Path) -> None:
    labels = volumes.cells()
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 30:34] = 0
    volumes.write_precomputed(tmp_path / "mask", mask)
    config = volumes.make_volume(
        tmp_path,
        volumes.affinities(labels, noise=0.3),
        {
            "block.size": [20, 32, 32],
            "block.overlap": [4, 8, 8],
            "segment.min_size_vox": 40,
            "mask": {"path": f"file://{tmp_path}/mask"},
        },
    )
    volumes.write_precomputed(tmp_path / "truth", labels, layer_type="segmentation")
    box = Box((7, -16, 310), (47, 40, 350))
    spans = ",".join(f"{b}:{e}" for b, e in zip(box.begin, box.end, strict=True))
    args = ("--box", spans, "--thresholds", ".5,.7", "--scoring", "mean,exact", "--json")
    done = cli("tune", config, "--truth", truth_of(config), *args)
    assert done.code == 0, done.err
    assert done.json["blocks"] == 18 and of_one_block(done.json) == []
    known = volumes.read_segmentation(truth_of(config), 0, box)
    for score in done.json["scores"]:
        if score["merge_function"] == "exact":
            continue
        whole = run_of_box(config, score["threshold"], box)
        assert (score["vi_split"], score["vi_merge"]) == pytest.approx(
            plain_vi(whole, known), abs=1e-9
        )
        one = plain_vi(alone(config, score["threshold"], box=box), known)
        assert sum(one) != pytest.approx(score["vi"], abs=1e-3)  # what borders add is there


def test_what_is_recommended_is_the_better_one_in_the_full_run(cli: Caller, tmp_path: Path) -> None:
    labels = volumes.cells()
    config = volumes.make_volume(
        tmp_path,
        volumes.affinities(labels, noise=0.2),
        {
            "block.size": [20, 32, 32],
            "block.overlap": [2, 2, 2],
            "segment.aff_thresholds": [0.05, 0.95],
        },
    )
    volumes.write_precomputed(tmp_path / "truth", labels, layer_type="segmentation")
    args = ("tune", config, "--truth", truth_of(config), "--scoring", "mean,exact", "--json")
    spans = ",".join(f"{o}:{o + n}" for o, n in zip(OFFSET, SHAPE, strict=True))
    found = cli(*args, "--box", spans).json
    own = {
        f: min((s for s in found["scores"] if s["merge_function"] == f), key=lambda s: s["vi"])
        for f in ("mean", "exact")
    }
    assert found["best"]["merge_function"] == "exact"
    # as one block the overlap method is the better one: a run has 27
    as_one = ("--set", "block.size=[40, 64, 64]", "--set", "block.overlap=[0, 0, 0]")
    one = cli(*args, "--box", spans, *as_one).json
    assert one["best"]["merge_function"] == "mean"
    assert own["mean"]["vi"] > one["best"]["vi"] + 0.05


def test_one_block_of_a_run_of_many_is_warned_of(cli: Caller, config: Path) -> None:
    sets = ("--set", "block.size=[20, 30, 64]", "--set", "block.overlap=[4, 4, 0]")
    args = ("tune", config, "--truth", truth_of(config), "--thresholds", LIST, "--json")
    (warning,) = of_one_block(cli(*args, "--box", "15:35,-10:20,300:364", *sets).json)
    assert "the box is one block of the overlap method, and a run has 9" in warning
    assert of_one_block(cli(*args, "--box", "15:35,-10:30,300:364", *sets).json) == []
    # where a run is one block, too, nothing is missing; and exact has no borders to miss
    assert of_one_block(cli(*args).json) == []
    exact = ("--scoring", "exact", *sets)
    assert of_one_block(cli(*args, "--box", "15:35,-10:20,300:364", *exact).json) == []


def test_exact_is_preferred_where_it_is_nearly_as_good() -> None:
    def best(vi_exact: float) -> str:
        points = [
            Point("mean", 0.5, 0.3, 0.2, 0.1, 5), Point("exact", 0.4, 0.3, vi_exact - 0.3, 0.1, 5),
            Point("exact", 0.6, 0.9, 0.9, 0.1, 5),
        ]  # fmt: skip
        found = tuning_result.Tuning(Box.of_shape((9, 9, 9)), tuple(points), 729, 3, ())
        assert found.best.threshold == (0.4 if found.best.merge_function == "exact" else 0.5)
        return found.best.merge_function

    assert best(0.529) == "exact"
    assert best(0.531) == "mean"
    assert best(0.45) == "exact"


def test_a_best_at_the_edge_and_a_poor_truth_are_warned_of(cli: Caller, config: Path) -> None:
    truth = volumes.read_segmentation(truth_of(config))
    truth[:, 10:] = 0
    truth[6:] = 0
    volumes.write_precomputed(config.parent / "few", truth, layer_type="segmentation")
    # not all is merged yet at these thresholds
    args = ("tune", config, "--truth", f"file://{config.parent}/few", *MANY_FRAGMENTS)
    edge, few = cli(*args, "--thresholds", ".9,.95", "--json").json["warnings"]
    assert "at the lower end of what was scanned (0.9): scan lower" in edge
    assert "labels only 0.8% of the box" in few
    assert few in cli(*args, "--thresholds", ".9,.95").out.replace("WARNING   ", "")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--thresholds", ".5,1.2"], 64, r"threshold 1\.2 isn't in \[0, 1\]"),
        (["--thresholds", "0.9:0.1:0.1"], 64, "neither a list nor a range"),
        (["--thresholds", "high"], 64, "neither a list nor a range"),
        (["--scoring", "median"], 78, r"merge_function 'median'(.|\n)*Available: mean"),
        (
            ["--box", "0:10,0:10,0:10"],
            64,
            r"reaches out of the volume, which is 7:47,-16:48,300:364",
        ),
        (["--box", "0:10,0:10"], 64, "is not z0:z1,y0:y1,x0:x1"),
        (["--box", "20:20,0:10,310:320"], 64, "is empty"),
        (["--box", "7:11,0:10,310:320"], 65, "no voxel of the truth is labelled"),
        (["--truth", "file:///no/such/truth"], 66, "/no/such/truth"),
        (["--truth-mip", "3"], 78, "has no mip 3"),
        (["--set", "segment.threshold=3"], 78, "segment.threshold"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    cli: Caller, config: Path, args: list[str], code: int, says: str
) -> None:
    before = files_of(config.parent)
    given = args if "--truth" in args else [*args, "--truth", truth_of(config)]
    done = cli("tune", config, *given)
    assert done.code == code, done.err
    assert re.search(says, done.err)
    assert "Traceback" not in done.out + done.err
    assert files_of(config.parent) == before


def test_a_truth_of_another_kind_or_voxel_size_is_refused(cli: Caller, config: Path) -> None:
    folder = config.parent
    floats = np.zeros(SHAPE, np.float32)
    volumes.write_precomputed(folder / "floats", floats)
    coarse = volumes.cells()[:20]
    volumes.write_precomputed(
        folder / "coarse", coarse, voxel_size_nm=(32.0, 8.0, 8.0), layer_type="segmentation"
    )
    volumes.write_precomputed(
        folder / "far", volumes.cells(), voxel_offset=(1000, 0, 0), layer_type="segmentation"
    )
    done = cli("tune", config, "--truth", f"file://{folder}/floats")
    assert (done.code, "not one of ids" in done.err) == (78, True)
    done = cli("tune", config, "--truth", f"file://{folder}/coarse")
    assert done.code == 78
    assert "voxels of 32 x 8 x 8 nm at mip 0, the affinity map of 16 x 8 x 8 nm" in done.err
    done = cli("tune", config, "--truth", f"file://{folder}/far")
    assert (done.code, "don't meet" in done.err) == (64, True)


def test_the_fitting_mip_of_a_truth_is_named(cli: Caller, config: Path) -> None:
    from magneton_tasks.formats.precomputed.write import create_segmentation

    fine = Box((14, -32, 600), (94, 96, 728))
    create_segmentation(
        f"file://{config.parent}/fine", fine, (8.0, 4.0, 4.0), (16, 16, 16), mip_factors=[(2, 2, 2)]
    )
    done = cli("tune", config, "--truth", f"file://{config.parent}/fine")
    assert done.code == 78
    assert "--truth-mip 1" in done.err


# ------------------------------------------------------------------ the exact method
EXACT = {
    "method": "exact",
    "segment": {"threshold": 0.5},
    "exact": {"s2": 20, "advanced": {"s_min": 6, "t_size": 5}},
    "pool": {},
    "block": {"size": [20, 32, 32]},
}


@pytest.fixture
def exact(config: Path) -> Path:
    """The same volume with a config of the exact method, and a mask."""
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 30:34] = 0
    volumes.write_precomputed(config.parent / "mask", mask)
    return volumes.write_config(
        config.parent, {**EXACT, "mask": {"path": f"file://{config.parent}/mask"}}
    )


def run_of_box(config: Path, threshold: float, box: Box) -> Array:
    """What a run makes of this box, cut into blocks."""
    sets = {
        "segment.threshold": threshold, "box": {"begin": list(box.begin), "end": list(box.end)},
        "paths.work": f"{config.parent}/w{threshold}",
        "paths.output": f"file://{config.parent}/s{threshold}",
    }  # fmt: skip
    return volumes.read_segmentation(volumes.run_pipeline(config, sets))


def test_the_layers_of_the_exact_method_are_what_a_run_of_that_box_makes(
    cli: Caller, exact: Path
) -> None:
    box = Box((15, -10, 310), (40, 40, 350))
    spans = ",".join(f"{b}:{e}" for b, e in zip(box.begin, box.end, strict=True))
    done = cli("try", exact, "--box", spans, "--thresholds", ".3,.5,.7", "--json")
    assert done.code == 0, done.err
    assert done.json["merge_function"] == "exact"
    assert len({x["objects"] for x in done.json["layers"]}) == 3
    for threshold in (0.3, 0.7):
        expected = run_of_box(exact, threshold, box)
        assert volumes.same_partition(layer(done, threshold), expected)
    # its settings decide, and so what is there isn't taken for another's
    other = cli(
        "try", exact, "--box", spans, "--thresholds", ".3", "--json", "--set", "exact.s2=0"
    ).json
    assert other["made"] == [0.3] and other["layers"][0]["objects"] > 3


def test_the_proposal_for_the_exact_method_is_the_minimum_of_an_independent_scan(
    cli: Caller, exact: Path
) -> None:
    from magneton_tasks.kernels.exact.exact_sweep import exact_segmentations

    whole = "7:47,-16:48,300:364"
    args = ("tune", exact, "--truth", truth_of(exact), "--set", "mask.path=null", "--box", whole)
    done = cli(*args, "--thresholds", "0.1:0.9:0.1", "--json")
    assert done.code == 0, done.err
    config = load_config(exact)
    affinity = open_affinity(config).read_uint8(open_affinity(config).info.box)
    truth = volumes.read_segmentation(truth_of(exact))
    scanned = {}
    for k in range(1, 10):
        threshold = round(0.1 * k, 1)
        ((labels, _),) = exact_segmentations(
            affinity.copy(), exact_settings(config, threshold), [threshold]
        )
        scanned[threshold] = plain_vi(labels, truth)
    found = {s["threshold"]: (s["vi_split"], s["vi_merge"]) for s in done.json["scores"]}
    assert {s["merge_function"] for s in done.json["scores"]} == {"exact"}
    for threshold, expected in scanned.items():
        assert found[threshold] == pytest.approx(expected, abs=1e-9), threshold
    best = done.json["best"]
    assert best["threshold"] == min(scanned, key=lambda t: (round(sum(scanned[t]), 9), -t))
    assert len({round(sum(v), 6) for v in scanned.values()}) > 4


@pytest.mark.parametrize("method", ["overlap", "exact"])
def test_both_methods_are_compared_and_the_best_is_written(
    cli: Caller, config: Path, exact: Path, method: str
) -> None:
    if method == "overlap":
        volumes.write_config(config.parent, {**WHOLE, "segment.merge_function": "mean"})
    args = ("tune", exact, "--truth", truth_of(exact), "--thresholds", LIST, "--write", "--json")
    done = cli(*args, "--scoring", "exact,mean")
    assert done.code == 0, done.err
    assert [c["merge_function"] for c in done.json["costs"]] == ["exact", "mean"]
    other = "exact" if method == "overlap" else "mean"
    done = cli(*args, "--scoring", other)
    assert done.code == 0, done.err
    assert done.json["written"] == (
        "method" in done.json["proposed"] or bool(done.json["proposed"])
    )
    written = load_config(exact)
    assert written.method == ("exact" if other == "exact" else "overlap")
    assert written.segment.threshold == done.json["best"]["threshold"]
    assert other == "exact" or written.segment.merge_function == "mean"


@pytest.mark.usefixtures("drawn")
def test_the_exact_method_in_the_table_and_its_memory(cli: Caller, exact: Path) -> None:
    args = ("tune", exact, "--truth", truth_of(exact), "--thresholds", LIST)
    lines = cli(*args).out.splitlines()
    assert [line.split()[0] for line in lines if line.split()[1:2] == ["0.4"]] == ["exact"]
    assert any(line.startswith("tuning    exact at 4 thresholds") for line in lines)
    just_a_worker = cost_exact.WORKER_BASE_BYTES + 2**20
    done = cli(*args, "--set", f"local.memory={just_a_worker}")
    assert done.code == 78 and "with exact may need" in done.err and "--box" in done.err


def test_what_the_map_asks_for_is_scored_and_taken_where_it_is_nearly_as_good(
    cli: Caller, tmp_path: Path
) -> None:
    exact = volumes.make_volume(tmp_path, settings=EXACT)
    volumes.write_precomputed(tmp_path / "truth", volumes.cells(), layer_type="segmentation")
    own = guessed(exact, {"segment.threshold": None})
    args = ("tune", exact, "--truth", truth_of(exact), "--scoring", "exact,mean")
    done = cli(*args, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert (found["own"]["value"], found["own"]["source"]) == (own.value, "map")
    (at,) = [
        s for s in found["scores"] if s["merge_function"] == "exact" and s["threshold"] == own.value
    ]
    least = min(s["vi"] for s in found["scores"])
    is_near = at["vi"] <= least + tuning_result.NEAR_BITS
    assert is_near, "this volume is one of those where the rule is right"
    assert found["best"] == at
    assert found["proposed"] == {"segment.threshold": None}
    out = cli(*args, "--write").out
    assert (
        f"map       from the map (samples say about {own.value:g}): contacts between objects" in out
    )
    assert "<- what the map asks for" in out
    assert "wrote     segment.threshold: null into" in out
    assert load_config(exact).segment.threshold is None
    # where thresholds are given nothing else is scored
    assert cli(*args, "--thresholds", LIST, "--json").json["own"] is None


# ------------------------------------------------------------------ try
def test_try_shows_what_the_map_asks_for_and_cuts_on_both_sides(cli: Caller, exact: Path) -> None:
    own = guessed(exact, {"segment.threshold": None}).number
    before = files_of(exact.parent)
    done = cli("try", exact, "--box", SOME, "--json")
    assert done.code == 0, done.err
    assert (done.json["own"]["value"], done.json["own"]["source"]) == (own, "map")
    tried = [x["threshold"] for x in done.json["layers"]]
    below, above = [t for t in tried if t < own], [t for t in tried if t > own]
    assert own in tried and len(below) >= 2 and len(above) >= 2
    assert 0.5 in tried  # what the config says
    assert not any("thresholds.json" in name for name in files_of(exact.parent) - before)
    out = cli("try", exact, "--box", SOME, "--no-view").out
    assert f"threshold from the map (samples say about {own:g}): contacts between objects" in out
    (marked,) = [line for line in out.splitlines() if line.endswith("<- what the map asks for")]
    assert float(marked.split()[0]) == own


@pytest.mark.parametrize("middle", [0.02, 0.06, 0.315, 0.5, 0.9, 0.98])
def test_cuts_lie_on_both_sides_of_any_threshold(middle: float) -> None:
    cuts = exact_cuts(middle)
    assert list(cuts) == sorted(set(cuts)) and middle in cuts
    assert all(0 < cut < 1 for cut in cuts)
    assert middle == 0.02 or cuts[0] < middle
    assert middle == 0.98 or cuts[-1] > middle
    assert cuts[-1] - cuts[0] > 0.05  # they differ by what one sees


def test_try_of_the_overlap_method_adds_what_a_run_takes(cli: Caller, config: Path) -> None:
    done = cli("try", config, "--box", SOME, "--json", "--set", "segment.threshold=0.6")
    assert [x["threshold"] for x in done.json["layers"]] == [0.3, 0.5, 0.6, 0.7, 0.9]
    out = cli("try", config, "--box", SOME, "--no-view", "--set", "segment.threshold=0.6").out
    assert "threshold 0.6, from the config" in out
    (marked,) = [x for x in out.splitlines() if x.endswith("<- what a run takes")]
    assert marked.split()[0] == "0.6"


def layer(done: Done, threshold: float) -> Array:
    (url,) = [x["url"] for x in done.json["layers"] if x["threshold"] == threshold]
    return volumes.read_segmentation(url)


def test_a_cell_has_one_id_in_all_layers(cli: Caller, config: Path) -> None:
    """So has its largest part where it falls apart; no two have one. A layer made later fits in."""

    def layers(thresholds: str) -> list[Array]:
        done = cli("try", config, "--box", SOME, "--thresholds", thresholds, "--json").json
        return [volumes.read_segmentation(x["url"]) for x in done["layers"]]

    compared, same_ids = 0, []
    for merged, split in itertools.pairwise(layers(".3,.6,.8")):
        for cell in np.unique(merged[merged > 0]):
            parts, sizes = np.unique(split[merged == cell], return_counts=True)
            (same,) = np.flatnonzero(parts == cell)
            assert sizes[same] == sizes[parts > 0].max()
            compared += parts.size > 2
    assert compared > 3
    for one, other in itertools.pairwise(layers(".3,.5,.6,.8,.9")):
        for cell in np.unique(one[one > 0]):
            (ids,) = [np.unique(other[one == cell])]
            if ids.size == 1 and ((other == ids[0]) == (one == cell)).all():
                same_ids.append(ids[0] == cell)
    # the id of a cell that changes on both sides can't be that of both
    assert len(same_ids) > 50 and np.mean(same_ids) > 0.9


def test_two_cells_never_share_an_id() -> None:
    """Both labels lie mostly in cell 7; the one that shares less, and the one without a cell, are new."""
    beside, label = (np.array(column, np.uint64) for column in ([7, 7, 9, 0], [1, 2, 2, 3]))
    shared, none = np.array([5, 6, 1, 4], np.int64), np.zeros(4, np.uint64)
    assert matched((beside, label, shared), none).tolist() == [0, 0, 7, 0]
    beside[0] = 9
    assert matched((beside, label, shared), none).tolist() == [0, 9, 7, 0]


@pytest.mark.parametrize("function", ["mean", "aff50_his256"])
def test_each_layer_is_the_segmentation_of_that_threshold(
    cli: Caller, config: Path, function: str
) -> None:
    done = cli("try", config, "--box", SOME, "--thresholds", LIST, "--scoring", function, "--json")
    assert done.code == 0, done.err
    box = Box((15, -10, 310), (40, 30, 350))
    assert [x["threshold"] for x in done.json["layers"]] == list(THRESHOLDS)
    for facts in done.json["layers"]:
        expected = alone(config, facts["threshold"], function, box)
        assert volumes.same_partition(layer(done, facts["threshold"]), expected)
        sizes = np.bincount(expected.ravel())[1:]
        assert facts["objects"] == sizes.size
        assert facts["largest_share"] == sizes.max() / sizes.sum()
        assert facts["median_vox"] == np.median(sizes)
        assert sizes[sizes >= facts["typical_vox"]].sum() >= sizes.sum() / 2
        assert sizes[sizes > facts["typical_vox"]].sum() <= sizes.sum() / 2
        info = read_metadata(facts["url"])
        assert (info.box, info.voxel_size_nm) == (box, volumes.VOXEL_NM)


def test_the_mask_counts(cli: Caller, config: Path) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[:, 30:34] = 0
    volumes.write_precomputed(config.parent / "mask", mask)
    args = ("--set", f"mask.path=file://{config.parent}/mask", "--json", "--thresholds", ".2")
    found = layer(cli("try", config, *args), 0.2)
    assert not found[mask == 0].any()
    assert found[mask == 1].mean() > 0


def test_try_writes_into_its_own_directory_only(cli: Caller, config: Path) -> None:
    before = files_of(config.parent)
    done = cli("try", config, "--thresholds", LIST, "--no-view")
    assert done.code == 0, done.err
    new = files_of(config.parent) - before
    (directory,) = {n.split("/")[1] for n in new if n != "work/magneton.json"}
    assert re.fullmatch("try-[0-9a-f]{16}", directory)
    assert all(n.startswith(f"work/{directory}/") for n in new if n != "work/magneton.json")
    assert {p.name for p in (config.parent / "work" / directory).iterdir()} == {
        "try.json",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
    }
    marker = json.loads((config.parent / "work" / directory / "try.json").read_text())
    assert marker["magneton"] == "try"
    assert [x["threshold"] for x in marker["layers"]] == list(THRESHOLDS)


def test_the_table_says_what_each_threshold_gave(cli: Caller, config: Path) -> None:
    args = ("try", config, "--thresholds", LIST)
    facts = cli(*args, "--json").json["layers"]
    lines = cli(*args, "--no-view").out.splitlines()
    for layer_facts in facts:
        start = f"{layer_facts['threshold']:>9g}  {layer_facts['objects']:>8,}"
        (line,) = [text for text in lines if text.startswith(start)]
        assert f"{layer_facts['largest_share']:.1%}" in line
    assert any("nothing to do, all layers exist" in line for line in lines)


def test_layers_that_are_there_are_not_made_again(cli: Caller, config: Path) -> None:
    first = cli("try", config, "--thresholds", ".4,.6", "--json").json
    folder = Path(first["directory"])
    times = {p: p.stat().st_mtime_ns for p in folder.glob("0.[46]/**/*") if p.is_file()}
    assert cli("try", config, "--thresholds", ".6,.4", "--json").json["made"] == []
    more = cli("try", config, "--thresholds", ".4,.5,.6", "--json").json
    assert (more["made"], more["directory"]) == ([0.5], first["directory"])
    assert {p: p.stat().st_mtime_ns for p in times} == times
    for change in ("input.version=2", "segment.aff_thresholds=[0.1, 0.9]", "input.offset_sign=1"):
        other = cli("try", config, "--thresholds", ".4", "--json", "--set", change).json
        assert other["made"] == [0.4], change
        assert other["directory"] != first["directory"]
    (folder / "0.4" / "info").unlink()
    (folder / "0.6" / "magneton.json").write_text('{"magneton": "another version"}')
    assert cli("try", config, "--thresholds", ".4,.5,.6", "--json").json["made"] == [0.4, 0.6]


def test_two_at_once_do_not_disturb_each_other(
    cli: Caller, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second makes and publishes all layers while the first is about to publish its own."""
    before = trying._publish

    def late(*layer: Any) -> None:
        monkeypatch.setattr(trying, "_publish", before)
        assert volumes.in_fork(lambda: main.main([*args, "--no-view"])) == 0
        before(*layer)

    args = ["try", str(config), "--thresholds", LIST]
    monkeypatch.setattr(trying, "_publish", late)
    done = cli(*args, "--json")
    assert done.code == 0, done.err
    for threshold in THRESHOLDS:
        assert volumes.same_partition(layer(done, threshold), alone(config, threshold))
    assert not list(Path(done.json["directory"]).glob(".*"))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_kill_leaves_whole_layers_or_none(cli: Caller, config: Path, n: int) -> None:
    args = ["try", str(config), "--thresholds", ".4,.6", "--no-view"]

    def killed() -> None:
        volumes.kill_at(n, "rename", when=lambda source, _: ".layers" in str(source))
        main.main(args)

    assert volumes.in_fork(killed) != 0
    assert cli(*args).code == 0
    done = cli(*args[:-1], "--json")
    for threshold in (0.4, 0.6):
        assert volumes.same_partition(layer(done, threshold), alone(config, threshold))


def test_try_needs_no_lease(cli: Caller, config: Path) -> None:
    lease = acquire(lease_places(load_config(config)), "a run", process_bound=True)
    try:
        assert cli("try", config, "--thresholds", ".5", "--json").code == 0
    finally:
        lease.release()


def test_layers_and_affinities_are_shown_side_by_side(
    cli: Caller, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, Any] = {}

    def serve(layers: Any, **options: Any) -> None:
        shown.update(options, layers=layers)

    monkeypatch.setattr("magneton_tasks.viewer.serve.serve", serve)
    assert cli("try", config, "--box", SOME, "--thresholds", ".4,.6").code == 0
    affinity, *segmentations = shown["layers"]
    assert (affinity.kind, affinity.url) == ("affinity", f"file://{config.parent}/affinity")
    assert [(x.kind, x.name) for x in segmentations] == [
        ("segmentation", "0.4"),
        ("segmentation", "0.6"),
    ]
    assert shown["side_by_side"] is True
    assert tuple(shown["position_vox"]) == (27.5, 10, 330)
    assert shown["voxel_size_nm"] == volumes.VOXEL_NM


# ------------------------------------------------------------------ memory
def test_a_box_that_needs_too_much_memory_is_refused_and_one_that_fits_named(
    cli: Caller, config: Path
) -> None:
    before = files_of(config.parent)
    little = ("--set", "local.memory=326MiB", "--scoring", "aff50_his256", *MANY_FRAGMENTS)
    done = cli("try", config, "--thresholds", ".5", "--no-view", *little)
    assert done.code == 78
    assert "more than local.memory (326.0 MiB)" in done.err
    assert files_of(config.parent) == before
    match = re.search(r"--box (\S+) fits", done.err)
    assert match, done.err
    spans = [tuple(map(int, span.split(":"))) for span in match[1].split(",")]
    box = Box(vec3(b for b, _ in spans), vec3(e for _, e in spans))
    sets: dict[str, object] = {
        "local.memory": "326MiB",
        "segment.aff_thresholds": [0.05, 0.99],
    }
    trial = trials.open_trial(config, sets, None, box)
    assert cost.memory_limit(trial, "aff50_his256", trying.EXTRA_BYTES_PER_VOXEL) == 326 * 2**20
    done = cli("tune", config, "--truth", truth_of(config), *little)
    assert done.code == 78
    assert "--scoring mean takes a fifth of the memory" in done.err


def test_a_child_that_needs_more_than_projected_is_ended(
    cli: Caller, config: Path, children: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "memory_limit", lambda *_: 20 * 2**20)
    done = cli("try", config, "--thresholds", ".5", "--no-view", *MANY_FRAGMENTS)
    assert done.code == 75
    assert "take a smaller --box" in done.err
    (folder,) = (config.parent / "work").glob("try-*")
    assert os.listdir(folder) == ["try.json"]


def test_a_bad_affinity_is_named_by_its_place_in_the_volume(cli: Caller, tmp_path: Path) -> None:
    affinity = volumes.affinities(volumes.cells()).astype(np.float32) / 255
    affinity[1, 20, 30, 40] = np.nan
    config = volumes.make_volume(tmp_path, affinity, WHOLE)
    done = cli("try", config, "--thresholds", ".5", "--no-view")
    voxel = tuple(o + v for o, v in zip(OFFSET, (20, 30, 40), strict=True))
    assert done.code == 65
    assert f"affinity nan at voxel {voxel}" in done.err
    assert "Traceback" not in done.out + done.err
