"""What differs between two resolved configs, and which of it decides results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What decides the results of each choice of stages, beside the choices before: see `make_fingerprints`.
_DECIDE = {
    "segment": ("method", "paths.input", "input.", "box", "mask.", "block.", "segment.", "exact."),
    "pool": ("pool.", "segment.min_size_vox"),
    "apply": ("paths.output", "apply."),
}
#: What begins as one of these, but decides nothing there.
_DECIDE_NOT = {
    "segment": ("segment.min_size_vox", "input.version", "input.identity"),
    "pool": ("pool.largest_object_warning",),
    "apply": (),
}


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two resolved configs, as ``key: before -> now``."""
    old, new = flat(before), flat(now)
    return [
        f"{k}: {old.get(k)} -> {new.get(k)}"
        for k in sorted(old.keys() | new.keys())
        if old.get(k) != new.get(k)
    ]


def decides(key: str, choice: str) -> bool:
    """Whether a key decides results of ``choice`` (segment, pool or apply) itself."""
    return key.startswith(_DECIDE[choice]) and not key.startswith(_DECIDE_NOT[choice] or ("\0",))


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found
