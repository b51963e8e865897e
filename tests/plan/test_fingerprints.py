"""What decides results, and what makes none of them stale."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from pydantic import create_model

from magneton_tasks.base.geometry import Box
from magneton_tasks.config.model import USUAL_THRESHOLD
from magneton_tasks.config.read import RunConfig, known_keys, parse_config
from magneton_tasks.plan import fingerprints
from magneton_tasks.plan.fingerprints import decisive, make_fingerprints
from magneton_tasks.plan.plan import Fingerprints, VolumeFacts, make_geometry
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
VOLUME = VolumeFacts(Box((0, 0, 0), (300, 400, 500)), (40.0, 4.0, 4.0), (64, 64, 64), "uint8", 3)
#: models made here have no types that mypy could know
new_model: Any = create_model
EXACT: dict[str, Any] = {"method": "exact"}
#: The sections whose keys may decide results, those inside others too.
SECTIONS = (
    "paths",
    "input",
    "mask",
    "block",
    "segment",
    "exact",
    "exact.advanced",
    "pool",
    "apply",
)


def of(config: RunConfig) -> Fingerprints:
    threshold = config.segment.threshold or USUAL_THRESHOLD
    return make_fingerprints(config, make_geometry(config, VOLUME), threshold)


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
    exact = a_config(EXACT)
    geometry = make_geometry(exact, VOLUME)
    fixed = a_config(EXACT | {"segment.threshold": 0.35})
    assert make_fingerprints(exact, geometry, 0.35) == make_fingerprints(fixed, geometry, 0.35)
    assert make_fingerprints(exact, geometry, 0.35) != make_fingerprints(exact, geometry, 0.36)


# ------------------------------------------------------------------ new keys
def with_new_key(section: str, default: object) -> Any:
    """The schema with a key more in a section, which may lie in another."""
    outer, _, inner = section.partition(".")
    added = {"a_new_key": (Any, default)}
    model: Any = type(getattr(a_config(), outer))
    if inner:
        grown = new_model("Grown", __base__=type(getattr(a_config().exact, inner)), **added)
        added = {inner: (grown, grown())}
    model = new_model("Grown", __base__=model, **added)
    wanted = ... if section == "paths" else model()
    return new_model("NewConfig", __base__=RunConfig, **{outer: (model, wanted)})


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("default", [None, 7, [1, 2], {"a": 1}], ids=str)
@pytest.mark.parametrize("method", ["overlap", "exact"])
def test_a_new_key_makes_no_result_stale(section: str, default: object, method: str) -> None:
    old = a_config({"method": method})
    new = with_new_key(section, default).model_validate(old.resolved())
    assert "a_new_key" in str(new.model_dump())
    assert of(new) == of(old)


@pytest.mark.parametrize(
    "section", ["input", "segment", "exact", "exact.advanced", "pool", "apply"]
)
def test_a_new_key_counts_where_it_is_set(section: str) -> None:
    old = a_config(EXACT)
    data = old.resolved()
    at = data
    for name in section.split("."):
        at = at[name]
    at["a_new_key"] = 8
    new = with_new_key(section, 7).model_validate(data)
    before, after = asdict(of(old)), asdict(of(new))
    first = {"pool": "pool", "apply": "apply"}.get(section, "segment")
    assert next(k for k in before if before[k] != after[k]) == first


def test_a_new_key_whose_default_is_new_behaviour_counts_unless_it_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(fingerprints.BEFORE, "exact.a_new_key", 0)
    old = a_config(EXACT)
    model = with_new_key("exact", 7)
    data = old.resolved()
    assert of(model.model_validate(data)).segment != of(old).segment
    data["exact"]["a_new_key"] = 0
    assert of(model.model_validate(data)) == of(old)


def test_a_whole_new_section_makes_no_result_stale() -> None:
    """Inside one that decides: nothing of it is hashed while all of it is as before."""
    part = new_model("Part", __base__=type(a_config().mask), depth=(int, 3))
    grown = new_model("Grown", __base__=type(a_config().exact), rounds=(part, part()))
    model = new_model("NewConfig", __base__=RunConfig, exact=(grown, grown()))
    old = a_config(EXACT)
    assert of(model.model_validate(old.resolved())) == of(old)


def test_every_key_that_may_decide_is_accounted_for() -> None:
    """A younger key says what was before it: its default may change one day, and must not by then."""
    deciding = tuple(f"{s}." for s in ("input", "mask", "exact", "segment", "pool", "apply"))
    keys = {key for key in known_keys() if key.startswith(deciding)}
    known = fingerprints.FIRST | fingerprints.NEVER | fingerprints.BEFORE.keys()
    assert keys <= known, f"write what stood before into fingerprints.BEFORE: {keys - known}"


def test_what_isn_t_read_isn_t_hashed() -> None:
    assert "min_iou" not in decisive(a_config({"method": "overlap"}), "pool")
    assert "version" not in decisive(a_config(), "input")
    assert make_geometry(a_config(EXACT), a_volume()).joins is not None
