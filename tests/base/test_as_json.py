"""Dataclasses as JSON: what is on disk stays as it was, and what isn't of the type is refused."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from magneton_tasks.base.as_json import of_json, to_json
from magneton_tasks.plan.memory import Density
from magneton_tasks.stages.planning.sampling import Samples
from magneton_tasks.stages.planning.thresholds import Entry, Kept

ENTRY = Entry(0.35, 0.1, 0.9, 0.25, 0.0, 0.3, ("few contacts",), 0.4)
KEPT = Kept(
    1,
    {"00112233": ENTRY, "44556677": Entry(1.0, 0.0, 1.0, 0.0, 0.0, 1e-7, (), None, is_whole=True)},
)
SAMPLES = Samples("key", Density(0.1, 1e-5, (0.2, 0.3), 0.5), [{"mean": 0.5}], ["é"], [])


@pytest.mark.parametrize("value", [KEPT, SAMPLES])
def test_the_bytes_are_those_of_releases_before(value: Kept | Samples) -> None:
    assert to_json(value) == json.dumps(asdict(value), indent=1).encode()


@pytest.mark.parametrize("value", [KEPT, SAMPLES])
def test_it_comes_back_equal(value: Kept | Samples) -> None:
    found = of_json(type(value), to_json(value))
    assert found == value and type(found) is type(value)
    if isinstance(found, Kept):
        assert isinstance(found.entries["00112233"], Entry)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", '{"format": 1}', '{"format": 1, "entries": {"a": {"value": "high"}}}'],
)
def test_what_isnt_of_the_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Kept"):
        of_json(Kept, text)


def test_fields_of_a_later_release_are_passed_over() -> None:
    data = json.loads(to_json(KEPT))
    data["entries"]["00112233"]["news"] = [1]
    assert of_json(Kept, json.dumps(data)) == KEPT
