"""What differs between two resolved configs, and which of it decides results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from magneton_tasks.config.model import USUAL_THRESHOLD

THRESHOLD = "segment.threshold"

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


def differing(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    taken: tuple[float | None, float | None] = (None, None),
) -> list[str]:
    """What differs between two resolved configs, as ``key: before -> now``.

    Parameters
    ----------
    taken
        The thresholds (affinities) that runs with them segment with; None: not known. Where both
        are, these are compared, whatever the configs say.
    """
    old, new = flat(before), flat(now)
    lines = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if key == THRESHOLD:
            known = (_threshold(old, taken[0]), _threshold(new, taken[1]))
            if (a != b) if None in known else (known[0] != known[1]):
                was, comes = (_threshold_words(*x) for x in zip((old, new), known, strict=True))
                lines.append(f"{key}: {was} -> {comes}")
        elif a != b:
            lines.append(f"{key}: {_words(old, key)} -> {_words(new, key)}")
    return lines


def _threshold(config: Mapping[str, Any], taken: float | None) -> float | None:
    """What a config of flat keys segments with; None: only the map tells."""
    given: float | None = config.get(THRESHOLD) if taken is None else taken
    return USUAL_THRESHOLD if given is None and config.get("method") == "overlap" else given


def _threshold_words(config: Mapping[str, Any], value: float | None) -> str:
    by_map = config.get(THRESHOLD) is None and config.get("method") == "exact"
    return ("null" if value is None else str(value)) + (", from the map" if by_map else "")


def _words(config: Mapping[str, Any], key: str) -> str:
    """A value as YAML has it; the other method (rule) may not read the key at all."""
    if key not in config:
        return "(not read)"
    value = config[key]
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
