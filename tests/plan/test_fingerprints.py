"""What decides results, and what makes none of them stale."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import create_model

from magneton_tasks.base.geometry import Box
from magneton_tasks.base.grid import Grid
from magneton_tasks.base.methods import Choice
from magneton_tasks.config import deciding, field_facts, keys, read, renamed
from magneton_tasks.config.differences import differing
from magneton_tasks.config.field_facts import ALWAYS, Decides, DecidesNothing
from magneton_tasks.config.read import RunConfig, known_keys, parse_config
from magneton_tasks.config.types import Section
from magneton_tasks.kernels import versions
from magneton_tasks.plan import stage_table
from magneton_tasks.plan.fingerprints import decisive, make_fingerprints
from magneton_tasks.plan.geometry import make_geometry
from magneton_tasks.plan.plan import Fingerprints
from magneton_tasks.plan.volume_facts import VolumeFacts
from magneton_tasks.stages.planning.sampling import samples_key
from magneton_tasks.trials import try_box
from magneton_tasks.trials.trial import EXACT as EXACT_TRIAL
from tests.helpers.plans import a_config, a_volume

PLAIN = """
method: overlap
paths: {input: "file:///data/a", output: "file:///data/seg", work: /data/work}
"""
MANY_KEYS = (
    PLAIN
    + """
box: {begin: [10, 20, 30], end: [250, 380, 470]}
mask: {path: "file:///data/mask", mip: 1}
input: {mip: 0, channels: xyz, offset_sign: 1, invert: true, scale: 200, version: 7, identity: chunks}
block: {size: [128, 128, 128], overlap: [16, 24, 32]}
segment: {threshold: 0.55, merge_function: mean, aff_thresholds: [0.01, 0.99], min_size_vox: 12}
pool: {rule: any, min_frac: 0.3, largest_object_warning: 0.5}
apply: {chunk_size: [32, 64, 64], encoding: raw, compress: null, mips: 1}
"""
)
SEEDED = (
    PLAIN
    + """
input: {channels: [2, 1, 0]}
segment: {supervoxels: 2d, interior_threshold: 0.2, min_distance: 5}
pool: {rule: iou, min_iou: 0.4}
apply: {encoding: crackle}
"""
)
EXACT_KEYS = (
    PLAIN.replace("overlap", "exact") + "exact: {advanced: {t_low: 2}}\ninput: {version: 3}\n"
)
BOX = Box((0, 0, 0), (100, 200, 300))
VOLUME = VolumeFacts(Box((0, 0, 0), (300, 400, 500)), (40.0, 4.0, 4.0), (64, 64, 64), "uint8", 3)
#: models made here have no types that mypy could know
new_model: Any = create_model
EXACT: dict[str, Any] = {"method": "exact"}
#: The sections whose keys may decide results, those inside others too.
SECTIONS = ("input", "mask", "segment", "exact", "exact.advanced", "pool", "apply")


def of(config: RunConfig) -> Fingerprints:
    return make_fingerprints(config, make_geometry(config, VOLUME))


@pytest.mark.parametrize(
    ("text", "golden"),
    [
        (PLAIN, ("4b15ec417076b0b7", "645910918bc9a06f", "0ca5e044fff8ea36", "9895192511815fc9", "57815a04ff5489ea")),
        (MANY_KEYS, ("71b79d7c53f78586", "e3be65e74c902e93", "2403965bb3a92e45", "4a3fce142d362708", "c65583ed91a56f2b")),
        (SEEDED, ("0f39c8a63d00262d", "0f8a8356e80e3483", "e62e64390503cfc1", "d376ee1b2a80e6d4", "f6b8d444b795d2d7")),
    ],
)  # fmt: skip
def test_results_of_version_0_1_still_count(text: str, golden: tuple[str, ...]) -> None:
    """The fingerprints that release 0.1.0 made of these configs; nothing may ever change them."""
    assert of(parse_config(text, "volume.yaml")) == Fingerprints(*golden)


def test_null_counts_as_the_threshold_that_it_stands_for() -> None:
    plain, written = a_config({"method": "overlap"}), a_config({"segment.threshold": 0.7})
    assert of(plain) == of(written.model_copy(update={"method": "overlap"}))


def test_what_pool_takes_from_the_map_counts_as_the_rule_that_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = a_config(EXACT)
    geometry = make_geometry(exact, VOLUME)
    fixed = of(a_config(EXACT | {"segment.threshold": 0.35}))
    by_map = make_fingerprints(exact, geometry)
    assert (by_map.segment, by_map.rounds) == (fixed.segment, fixed.rounds)
    results = (fixed.pool, fixed.cut, fixed.result)
    assert {by_map.pool, by_map.cut, by_map.result}.isdisjoint(results)
    monkeypatch.setattr(versions, "MAP_THRESHOLD", versions.MAP_THRESHOLD + 1)
    other = make_fingerprints(exact, geometry)
    assert other.rounds == by_map.rounds and other.pool != by_map.pool


# ------------------------------------------------------------------ new keys
def with_new_key(section: str, default: object, *facts: Decides) -> Any:
    """The schema with a key more in a section, which may lie in another."""
    outer, _, inner = section.partition(".")
    added: dict[str, Any] = {"a_new_key": (Any, default)}
    for fact in facts:
        added = {"a_new_key": (Annotated[Any, fact], default)}
    model: Any = type(getattr(a_config(), outer))
    if inner:
        grown = new_model("Grown", __base__=type(getattr(a_config().exact, inner)), **added)
        added = {inner: (grown, grown())}
    model = new_model("Grown", __base__=model, **added)
    return new_model("NewConfig", __base__=RunConfig, **{outer: (model, model())})


def of_group(section: str) -> Choice:
    return deciding.GROUPS[section.partition(".")[0]]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("default", [None, 7, [1, 2], {"a": 1}], ids=str)
@pytest.mark.parametrize("method", ["overlap", "exact"])
def test_a_new_key_makes_no_result_stale(section: str, default: object, method: str) -> None:
    row = Decides(of_group(section), f"{section}.a_new_key", before=default)
    old = a_config({"method": method})
    new = with_new_key(section, default, row).model_validate(old.resolved())
    assert "a_new_key" in str(new.model_dump())
    assert of(new) == of(old)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_new_key_counts_where_it_is_set(section: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"{section}.a_new_key"
    row = Decides(of_group(section), key, before=7)
    schema = with_new_key(section, 7, row)
    monkeypatch.setattr(deciding, "RunConfig", schema)
    old = a_config(EXACT)
    data = old.resolved()
    keys.put(data, key, 8)
    new = schema.model_validate(data)
    before, after = asdict(of(old)), asdict(of(new))
    assert next(k for k in before if before[k] != after[k]) == row.choice
    assert differing(old.resolved(), new.resolved()) == [f"{key}: (not read) -> 8"]
    assert deciding.decides(key, row.choice)


def test_a_new_key_whose_default_is_new_behaviour_counts_unless_it_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = a_config(EXACT)
    model = with_new_key("exact", 7, Decides("segment", "exact.a_new_key", before=0))
    monkeypatch.setattr(deciding, "RunConfig", model)
    data = old.resolved()
    assert of(model.model_validate(data)).segment != of(old).segment
    data["exact"]["a_new_key"] = 0
    new = model.model_validate(data)
    assert of(new) == of(old)
    assert differing(old.resolved(), new.resolved()) == []


def test_a_new_key_that_says_nothing_counts_nowhere() -> None:
    """It can't come to be hashed under a name that nobody meant to keep."""
    old = a_config(EXACT)
    data = old.resolved()
    keys.put(data, "exact.a_new_key", 8)
    assert of(with_new_key("exact", 7).model_validate(data)) == of(old)


# ------------------------------------------------------------------ the table
TABLE = deciding.table(RunConfig)


def test_every_key_says_what_it_decides() -> None:
    """A key without a word would be taken to decide nothing, and results would be wrong."""
    said = {**field_facts.of(RunConfig, Decides), **field_facts.of(RunConfig, DecidesNothing)}
    for key in known_keys():
        words = [
            fact for section, facts in said.items() if keys.is_in(key, section) for fact in facts
        ]
        assert len(words) == 1, key
    assert all(len(rows) == 1 for rows in field_facts.of(RunConfig, Decides).values())


def test_ids_are_those_of_the_first_release_and_each_is_used_once() -> None:
    ids = [row.id for row in TABLE.values() if row.id is not None]
    assert len(ids) == len(set(ids))
    for row in TABLE.values():
        if row.id is not None:
            assert deciding.GROUPS[row.id.partition(".")[0]] == row.choice
        else:
            assert row.before is ALWAYS


#: Another value of each key, and what else must be set for it to be read.
OTHER: dict[str, Any] = {
    "method": "exact", "paths.input": "file:///b", "paths.output": "file:///other", "paths.work": "/w",
    "input.mip": 1, "input.channels": "xyz", "input.offset_sign": 1, "input.invert": True,
    "input.scale": 9.0, "input.voxel_size_nm": [40.0, 4.0, 4.0], "input.axes": "zyxc", "mask.path": "file:///mask", "mask.mip": 1,
    "block.size": [128, 128, 128], "block.overlap": [16, 16, 16],
    "segment.threshold": 0.4, "segment.merge_function": "mean", "segment.supervoxels": "2d",
    "segment.aff_thresholds": [0.1, 0.9], "segment.interior_threshold": 0.3,
    "segment.min_distance": 9, "segment.min_size_vox": 5,
    "exact.s2": 1, "exact.dust": 1, "exact.lowest_threshold": 0.3, "exact.advanced.t_low": 2, "exact.advanced.t_high": 250,
    "exact.advanced.s_min": 1, "exact.advanced.t_size": 3,
    "pool.rule": "both", "pool.min_overlap_vox": 9, "pool.min_frac": 0.9, "pool.min_iou": 0.9,
    "pool.largest_object_warning": 0.9,
    "apply.chunk_size": [32, 32, 32], "apply.encoding": "raw", "apply.compress": None, "apply.mips": 1,
    "apply.sharding": "on", "paths.max_files": 400_000, "paths.visibility_wait_s": 3, "input.version": 3, "input.identity": "chunks",
    "schedule": "@daily", "partition_format": "%Y", "local.workers": 3, "docker.image": "i",
    "slurm.cpus": 2, "runner.offered": ["local", "slurm"], "wait_for_input.marker": "done",
    "notify.failure": [{"notifier": "a.B"}],
    "mesh.mip": 1, "mesh.dust_um3": 0.5, "mesh.error_nm": 9.0, "mesh.lods": 4,
    "skeleton.mip": 1, "skeleton.dust_um3": 0.5, "skeleton.scale": 2.0, "skeleton.const_nm": 90.0,
    "skeleton.tick_nm": 9.0,
}  # fmt: skip
#: Of sections that are null by default.
DEFAULTS = {
    key: keys.fields(RunConfig)[key].default
    for key in OTHER
    if key.partition(".")[0] in stage_table.SECTIONS
}
READ_WITH: dict[str, dict[str, Any]] = {
    "segment.interior_threshold": {"segment.supervoxels": "3d"},
    "segment.min_distance": {"segment.supervoxels": "3d"},
    "pool.min_iou": {"pool.rule": "iou"},
    **{key: EXACT for key in OTHER if key.startswith("exact.")},
    **{key: {key: default} for key, default in DEFAULTS.items()},
}


@pytest.mark.parametrize("key", OTHER)
def test_the_table_says_which_results_a_key_decides(key: str) -> None:
    base = READ_WITH.get(key, {})
    one, other = a_config(base), a_config(base | {key: OTHER[key]})
    before, after = asdict(of(one)), asdict(of(other))
    first = next((k for k in before if before[k] != after[k]), None)
    row = TABLE.get(key)
    section, _ = keys.split(key)
    assert first == (section if section in stage_table.SECTIONS else row and row.choice)
    assert [c for c in ("segment", "pool", "apply") if deciding.decides(key, c)] == (
        [] if row is None else [row.choice]
    )


def test_a_box_decides_by_its_cuts_and_by_its_name() -> None:
    box = {"begin": [0, 0, 0], "end": [128, 128, 128]}
    assert of(a_config({"box": box})).segment != of(a_config()).segment
    assert deciding.decides("box", "segment") and deciding.decides("box.end", "segment")
    assert not deciding.decides("box", "apply")
    assert set(TABLE) <= {*OTHER, "box.begin", "box.end", "input.voxel_offset"}


# ------------------------------------------------------------------ renamed keys
def test_a_renamed_key_keeps_results_and_is_read_by_its_old_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = PLAIN.replace("overlap", "exact") + "exact: {s2: 150}\n"
    before = parse_config(text, "volume.yaml")
    result = of(before)
    schema = renamed_s2()
    monkeypatch.setattr(read, "RunConfig", schema)
    monkeypatch.setitem(renamed.RENAMED, "exact.s2", "exact.crumbs")
    now = parse_config(text, "volume.yaml")
    assert isinstance(now, schema) and keys.value(now, "exact.crumbs") == 150
    assert of(now) == result
    assert of(parse_config(text.replace("s2", "crumbs"), "volume.yaml")) == result
    assert of(parse_config(text.replace("150", "151"), "volume.yaml")) != result
    # what an earlier release wrote beside its results has the old name
    assert differing(before.resolved(), now.resolved()) == []


def renamed_s2() -> Any:
    """The schema with another name for ``exact.s2``."""
    exact = type(a_config().exact)
    fields = {n: (f.annotation, f) for n, f in exact.model_fields.items() if n != "s2"}
    crumbs = (int, exact.model_fields["s2"])
    part = new_model("Exact", __base__=Section, crumbs=crumbs, **fields)
    return new_model("NewConfig", __base__=RunConfig, exact=(part, part()))


def test_what_isn_t_read_isn_t_hashed() -> None:
    assert "min_iou" not in decisive(a_config({"method": "overlap"}), "pool")
    assert "version" not in decisive(a_config(), "input")
    assert make_geometry(a_config(EXACT), a_volume()).method == "exact"


# ------------------------------------------------------------------ what else is told apart by settings
@pytest.mark.parametrize(
    ("text", "tried", "sampled"),
    [
        (PLAIN, "try-52d9ce5a199f49ad", "2a9cf8ca3c2fb28f"),
        (MANY_KEYS, "try-02a0d1402ee5644f", "95e13434fb1b8327"),
        (SEEDED, "try-5fa9b865ff7807b9", "555e3d5f05e8dc5b"),
        (EXACT_KEYS, "try-6f1f1f0b8bf6d06a", "cb9956561533eb58"),
    ],
)
def test_samples_and_tried_boxes_of_before_still_count(text: str, tried: str, sampled: str) -> None:
    """Nor does a key more make any of them anew."""
    config = parse_config(text, "volume.yaml")
    assert (tried_in(config), samples_of(config)) == (tried, sampled)
    section = "exact" if config.method == "exact" else "segment"
    row = Decides("segment", f"{section}.a_new_key", before=7)
    new = with_new_key(section, 7, row).model_validate(config.resolved())
    assert (tried_in(new), samples_of(new)) == (tried, sampled)


def tried_in(config: RunConfig) -> str:
    function = EXACT_TRIAL if config.method == "exact" else config.segment.merge_function
    trial: Any = SimpleNamespace(config=config, function=function, input_digest="in", box=BOX)
    return try_box.directory_of(trial).name


def samples_of(config: RunConfig) -> str:
    grid = Grid(((0, 100), (0, 200), (0, 300)))
    return samples_key(config, BOX, "in", grid)
