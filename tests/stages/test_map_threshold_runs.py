"""``segment.threshold: null`` of the exact method, from plan to the labels, and who keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import yaml

from magneton_tasks.base.geometry import Box, Vec3, vec3
from magneton_tasks.clean.needed import needed
from magneton_tasks.config.read import RunConfig
from magneton_tasks.errors import CorruptFileError, OutOfMemoryError
from magneton_tasks.outcome import current
from magneton_tasks.plan.plan import Plan, ThresholdChoice
from magneton_tasks.stages import child
from magneton_tasks.stages.planning import draft, map_samples
from magneton_tasks.stages.planning.map_samples import EDGE_VOX, MOST_BOXES, WHOLE_VOXELS, places
from magneton_tasks.stages.planning.request import PlanRequest
from magneton_tasks.work.paths import WorkPaths
from tests.helpers import volumes
from tests.helpers.calls import Caller
from tests.helpers.exact.real_data import needs_shared_data, pub128
from tests.helpers.volumes import Array
from tests.outcome.test_status import edit

pytestmark = pytest.mark.usefixtures("childless")

SHAPE: Vec3 = (32, 48, 48)
EXACT: dict[str, Any] = {
    "method": "exact", "segment": {}, "pool": {}, "block": {"size": [32, 30, 30]},
}  # fmt: skip
#: no chunk, no volume and no two axes begin at 0
ORIGIN: Vec3 = (7, -16, 300)


def tissue(noise: float = 0.2, seed: int = 0, shape: Vec3 = SHAPE) -> Array:
    return volumes.affinities(volumes.cells(shape, 60, seed), noise, seed)


def make(folder: Path, array: Array | None = None, **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    volumes.write_precomputed(folder / "affinity", tissue() if array is None else array)
    given = EXACT | {key.replace("__", "."): value for key, value in settings.items()}
    return volumes.write_config(folder, given)


def planned(config: Path, run: str = "test", **options: Any) -> Plan:
    found = volumes.plan_run(config, run=run, **options)
    volumes.release(found)
    return found.plan


def guessed(config: Path, sets: Mapping[str, object] | None = None) -> ThresholdChoice:
    """What a dry run tells."""
    request = PlanRequest(config, "dry", sets or {}, guess=True)
    return draft.draft(request, write=False).plan.threshold


def work_of(config: Path) -> WorkPaths:
    return WorkPaths(config.parent / "work")


@pytest.fixture
def unsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the map is looked at."""

    def look(*_: Any) -> NoReturn:
        raise AssertionError("the map was looked at")

    monkeypatch.setattr(map_samples, "look", look)


# ------------------------------------------------------------------ a run
def test_a_run_segments_with_what_the_map_asks_for(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path / "null")
    run = volumes.run_pipeline(config)
    chosen = run.attempt.threshold
    assert chosen.source == "map" and chosen.warnings == () and not chosen.is_guess
    assert chosen.between is not None and chosen.inside is not None
    assert chosen.between < chosen.number < chosen.inside
    frozen = yaml.safe_load(run.attempt.paths.config.read_text())
    assert frozen["segment"]["threshold"] is None
    written = json.loads(run.attempt.paths.plan.read_text())["threshold"]
    assert (written["source"], written["value"]) == ("map", None)
    same = make(tmp_path / "fixed", segment={"threshold": chosen.value})
    fixed = volumes.run_pipeline(same)
    assert (volumes.read_segmentation(fixed) == volumes.read_segmentation(run)).all()
    assert fixed.plan.threshold.source == "config"
    other = volumes.run_pipeline(make(tmp_path / "other", segment={"threshold": 0.95}))
    assert (volumes.read_segmentation(other) != volumes.read_segmentation(run)).any()
    shown = cli("plan", config, "--run-id", "shown").out
    levels = f"contacts between objects {chosen.between:.2f}, inside objects {chosen.inside:.2f}"
    assert f"threshold {chosen.value:g}, from the map: {levels}" in shown


def test_it_can_be_fixed_for_one_run_and_taken_back(tmp_path: Path) -> None:
    config = make(tmp_path, segment={"threshold": 0.5})
    assert planned(config).threshold.source == "config"
    set_now = planned(config, "set", sets={"segment.threshold": 0.6}).threshold
    assert (set_now.value, set_now.source) == (0.6, "run")
    assert planned(config, "null", sets={"segment.threshold": None}).threshold.source == "map"


def test_overlap_takes_its_usual_one(tmp_path: Path) -> None:
    config = volumes.make_volume(tmp_path, settings={"method": "overlap", "segment": {}})
    chosen = planned(config).threshold
    assert (chosen.value, chosen.source, chosen.between) == (0.7, "config", None)
    assert not work_of(config).thresholds.exists()


# ------------------------------------------------------------------ it belongs to the result
@pytest.mark.usefixtures("unsampled")
def test_a_run_and_its_rerun_look_at_no_samples(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path)
    shown = cli("plan", config, "--run-id", "test").out
    assert "threshold from the map: pool finds it when all blocks are done" in shown
    first = volumes.run_pipeline(config)
    again = planned(config, "again")
    assert again.nothing_to_do
    assert again.threshold == first.attempt.threshold


def test_a_dry_run_tells_what_samples_say_until_pool_knows(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path)
    shown = cli("run", config, "--dry-run").out
    assert f"from the map (samples say about {guessed(config).value:g}): contacts" in shown
    chosen = volumes.run_pipeline(config).attempt.threshold
    assert (
        f"threshold {chosen.value:g}, from the map: contacts" in cli("run", config, "--dry-run").out
    )
    assert guessed(config) == chosen


def test_a_dry_run_writes_nothing(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path)
    assert cli("run", config, "--dry-run").code == 0
    assert not work_of(config).thresholds.exists()


def rewrite(config: Path, part: Array) -> None:
    """Write other affinities into some of the chunks (with times of now)."""
    volumes.write_precomputed(config.parent / "affinity", part)
    for chunk in (config.parent / "affinity").rglob("*_*_*"):
        chunk.touch()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("input", "version", 2), ("exact", "s2", 150), ("input", "invert", True)],
)
def test_another_version_or_setting_takes_it_anew_and_back_the_old_one(
    tmp_path: Path, section: str, key: str, value: object
) -> None:
    config = make(tmp_path, input={"doubtful": "warn"})
    first = volumes.run_pipeline(config).attempt.threshold
    assert planned(config, "same").threshold == first
    edit(config, **{f"{section}__{key}": value})
    assert planned(config, "changed").threshold.value is None
    edit(config, **{f"{section}__{key}": None if key == "version" else {"s2": 200}.get(key, False)})
    assert planned(config, "back").threshold == first


def test_of_a_damaged_file_it_is_said_what_to_do(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path)
    run = volumes.run_pipeline(config)
    path = work_of(config).thresholds
    for damage in (
        path.read_text()[:-30],
        "[]",
        '{"format": 1}',
        '{"format": 1, "entries": {"a": 1}}',
    ):
        path.write_text(damage)
        done = cli("plan", config, "--run-id", "next")
        assert done.code == 65, damage
        assert f"{path}, which keeps the thresholds" in done.err and "remove it" in done.err
        with pytest.raises(CorruptFileError):
            needed(run.attempt.config, "stale")
        noted = current.as_planned_now(run.attempt, config).notes
        assert any("is damaged" in note for note in noted)
        assert cli("status", config).code == 0
    path.unlink()
    assert planned(config, "anew").threshold.value is None


def test_what_isn_t_known_makes_nothing_stale(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path)
    run = volumes.run_pipeline(config)
    folders = {p.name for p in (tmp_path / "work").glob("*-*")}

    def stages() -> set[str]:
        return set(needed(run.attempt.config, "stale").stages) & folders

    assert stages() == folders
    now = current.as_planned_now(run.attempt, config)
    assert now.attempt.plan.fingerprints == run.plan.fingerprints
    work_of(config).thresholds.unlink()
    for newer in (tmp_path / "work" / "runs").iterdir():
        newer.rename(tmp_path / newer.name)  # nothing else says what is in use
    assert stages() == folders
    assert current.as_planned_now(run.attempt, config).attempt.plan.threshold == run.plan.threshold


# ------------------------------------------------------------------ where it looks
@pytest.mark.parametrize(
    "shape", [(20, 1500, 1500), (400, 400, 400), (1000, 2000, 3000), (1, 8000, 8000)]
)
def test_places_are_those_of_the_volume_and_don_t_overlap(shape: Vec3) -> None:
    box = Box.of_shape(shape, ORIGIN)
    assert box.voxels > WHOLE_VOXELS
    found = places(box, (64, 64, 64), ORIGIN)
    assert found == places(box, (64, 64, 64), ORIGIN)
    assert 1 < len(found) <= MOST_BOXES
    assert all(box.contains(b) and b.shape == found[0].shape for b in found)
    assert 0.95 * EDGE_VOX**3 <= found[0].voxels <= 1.05 * EDGE_VOX**3
    for k, one in enumerate(found):
        assert all(one.intersection(other).is_empty for other in found[:k])
    middles = np.array([[(b + e) / 2 for b, e in zip(f.begin, f.end, strict=True)] for f in found])
    share = (middles.mean(0) - box.begin) / box.shape
    assert (np.abs(share - 0.5) < 0.12).all()  # spread, not in a corner


def test_boxes_begin_on_chunks_where_these_fit() -> None:
    box = Box.of_shape((700, 700, 700), (13, 5, 3))
    for chunk, fits in ((64, True), (128, True), (100, False)):
        found = places(box, (chunk,) * 3, (0, 0, 0))
        aligned = all(b % chunk == 0 for f in found for b in f.begin)
        assert aligned == fits and len(found) == MOST_BOXES


def test_a_small_volume_is_looked_at_as_a_whole() -> None:
    box = Box.of_shape((317, 317, 317), ORIGIN)
    assert places(box, (64, 64, 64), ORIGIN) == [box]


@pytest.fixture
def small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a large volume: boxes of 24^3, enough of four."""
    monkeypatch.setattr(map_samples, "WHOLE_VOXELS", 1)
    monkeypatch.setattr(map_samples, "EDGE_VOX", 24)
    monkeypatch.setattr(map_samples, "ENOUGH_VOXELS", 4 * 24**3 - 1000)


@pytest.mark.usefixtures("small_boxes")
def test_of_a_large_volume_boxes_are_looked_at_until_enough_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked = map_samples.look, list[map_samples.Looked]()

    def look(config: RunConfig, boxes: list[Box]) -> map_samples.Looked:
        looked.append(real(config, boxes))
        return looked[-1]

    monkeypatch.setattr(map_samples, "look", look)
    full = tissue(shape=(48, 64, 64))
    sparse = full.copy()
    sparse[:, :, :, 32:] = 0  # nothing there
    for name, array, least in (("full", full, 4), ("half", sparse, 6)):
        config = make(tmp_path / name, array)
        looked.clear()
        chosen = guessed(config)
        assert looked[0].boxes >= least
        assert abs(chosen.number - 0.35) < 0.1
    grids = {guessed(config, {"block.size": [20, k, 40]}).value for k in (20, 33, 64)}
    assert grids == {chosen.value}


# ------------------------------------------------------------------ what it reads
def framed(inside: Array, rim: int, seed: int = 1) -> tuple[Array, Array]:
    """A map in a frame of noise 0..30, and the mask of what counts."""
    shape = vec3(n + 2 * rim for n in inside.shape[1:])
    array = np.random.default_rng(seed).integers(0, 31, (3, *shape)).astype(np.uint8)
    middle = tuple(slice(rim, rim + n) for n in inside.shape[1:])
    array[(slice(None), *middle)] = inside
    mask = np.zeros(shape, np.uint8)
    mask[middle] = 1
    return array, mask


def with_mask(folder: Path, array: Array, mask: Array, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    url = volumes.write_precomputed(folder / "mask", mask[None])
    return make(folder, array, mask={"path": url}, **settings)


def test_a_masked_frame_counts_for_nothing(tmp_path: Path) -> None:
    inside = tissue()
    own = guessed(make(tmp_path / "own", inside))
    array, mask = framed(inside, 8)
    assert guessed(with_mask(tmp_path / "masked", array, mask)) == own
    assert guessed(make(tmp_path / "bare", array)).number < own.number - 0.02


@needs_shared_data
def test_pub128_in_a_masked_frame_has_its_own_threshold(tmp_path: Path) -> None:
    array, mask = framed(pub128(), 5)
    config = with_mask(tmp_path / "masked", array, mask, block={"size": [96, 96, 96]})
    chosen = guessed(config)
    assert (chosen.value, chosen.source, chosen.warnings) == (0.28, "map", ())


def test_a_cut_out_is_a_volume_of_its_own(tmp_path: Path) -> None:
    inside = tissue()
    own = guessed(make(tmp_path / "own", inside))
    array, _ = framed(inside, 12)
    low = [o + 12 for o in volumes.OFFSET]
    high = [b + n for b, n in zip(low, SHAPE, strict=True)]
    cut = guessed(make(tmp_path / "cut", array, box={"begin": low, "end": high}))
    assert cut == own


def test_a_process_that_holds_much_looks_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_LOOK_S", 0.001)
    config = make(tmp_path)
    held = np.ones(400 * 2**20, np.uint8)  # as a notebook's own arrays
    assert guessed(config).source == "map"
    assert held[-1] == 1


def test_conventions_are_those_of_segment(tmp_path: Path) -> None:
    array = tissue()
    own = guessed(make(tmp_path / "own", array))
    after = np.zeros_like(array)
    for d in range(3):
        np.moveaxis(after[d], d, 0)[:-1] = np.moveaxis(array[d], d, 0)[1:]
    stored = np.ascontiguousarray(255 - after[::-1])
    given = {"channels": "xyz", "offset_sign": 1, "invert": True}
    assert guessed(make(tmp_path / "stored", stored, input=given)) == own


def test_too_few_contacts_are_warned_of_with_what_to_do(tmp_path: Path, cli: Caller) -> None:
    config = make(tmp_path, tissue(shape=(12, 20, 20)))
    chosen = guessed(config)
    assert (chosen.value, chosen.source) == (0.5, "map")
    shown = cli("run", config, "--dry-run").out
    assert "WARNING   the map holds too few contacts" in shown
    assert "set segment.threshold" in shown


def test_every_warning_says_what_to_do() -> None:
    from magneton_tasks.stages.planning.thresholds import Entry

    names = ("few contacts", "poor contrast", "stopped early", "cliff below", "no lower cut")
    entry = Entry(0.3, 0.11, 0.87, 0.6, 1.3, 0.2, names)
    said = entry.choice().warnings
    assert len(said) == 5
    assert all("{" not in w and ("look" in w or "set segment.threshold" in w) for w in said)


def test_memory_that_runs_out_is_told_with_a_way_out(
    tmp_path: Path, cli: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*_: Any) -> NoReturn:
        raise OutOfMemoryError("needed more than its limit", "take a smaller block.size")

    monkeypatch.setattr(map_samples, "run_in_child", run_out)
    done = cli("run", make(tmp_path), "--dry-run")
    assert done.code == 75
    assert "taking the threshold from the map needs" in done.err
    assert "set segment.threshold" in done.err
