"""What differs between two configs, in words."""

from __future__ import annotations

from typing import Any

import pytest

from magneton_tasks.config.differences import differing


def config(method: str, threshold: float | None, **others: Any) -> dict[str, Any]:
    return {"method": method, "segment": {"threshold": threshold}, **others}


@pytest.mark.parametrize(
    ("before", "now", "taken", "told"),
    [
        (("exact", 0.7), ("exact", None), (0.7, 0.265), "0.7 -> 0.265, from the map"),
        (("exact", 0.7), ("exact", None), (0.7, None), "0.7 -> null, from the map"),
        (("exact", None), ("exact", 0.7), (0.265, 0.7), "0.265, from the map -> 0.7"),
        (("exact", None), ("exact", None), (0.2, 0.3), "0.2, from the map -> 0.3, from the map"),
        (("exact", None), ("exact", 0.3), (0.3, 0.3), "0.3, from the map -> 0.3"),
        (("overlap", 0.6), ("overlap", None), (None, None), "0.6 -> 0.7"),
    ],
)
def test_a_threshold_is_told_as_it_is_taken(
    before: Any, now: Any, taken: tuple[float | None, float | None], told: str
) -> None:
    found = differing(config(*before), config(*now), taken)
    assert found == [f"segment.threshold: {told}"]


def test_the_same_threshold_is_no_difference() -> None:
    assert differing(config("exact", None), config("exact", None), (0.265, 0.265)) == []
    assert differing(config("overlap", None), config("overlap", 0.7)) == []
    assert differing(config("exact", None), config("exact", None), (0.265, None)) == []


def test_values_are_told_as_yaml_writes_them() -> None:
    before = config("exact", 0.5, box=None, on=False, gone=3)
    now = config("exact", 0.5, box="x", on=True)
    assert differing(before, now) == [
        "box: null -> x",
        "gone: 3 -> (not read)",
        "on: false -> true",
    ]
