"""What differs between two resolved configs, in words."""

from __future__ import annotations

from collections.abc import Mapping

from magneton_tasks.config import deciding, keys, renamed
from magneton_tasks.config.segment import USUAL_THRESHOLD

THRESHOLD = "segment.threshold"


def differing(
    before: Mapping[str, object],
    now: Mapping[str, object],
    taken: tuple[float | None, float | None] = (None, None),
) -> list[str]:
    """What differs between two resolved configs, as ``key: before -> now``.

    Parameters
    ----------
    taken
        The thresholds (affinities) that runs with them segment with; None: not known. Where both
        are, these are compared, whatever the configs say; whether they are the map's, always.
    """
    old, new = renamed.of(keys.flat(before)), renamed.of(keys.flat(now))
    lines = []
    for key in sorted(old.keys() | new.keys()):
        a, b = (values.get(key, deciding.before(key)) for values in (old, new))
        if key == THRESHOLD:
            known = (_threshold(old, taken[0]), _threshold(new, taken[1]))
            same = a == b if None in known else known[0] == known[1]
            if not same or _is_by_map(old) != _is_by_map(new):
                was, comes = (_threshold_words(*x) for x in zip((old, new), known, strict=True))
                lines.append(f"{key}: {was} -> {comes}")
        elif a != b:
            lines.append(f"{key}: {_words(old, key)} -> {_words(new, key)}")
    return lines


def _threshold(config: Mapping[str, object], taken: float | None) -> float | None:
    """What a config of flat keys segments with; None: only the map tells."""
    given = config.get(THRESHOLD) if taken is None else taken
    if given is None and config.get("method") == "overlap":
        return USUAL_THRESHOLD
    return given if isinstance(given, int | float) else None


def _threshold_words(config: Mapping[str, object], value: float | None) -> str:
    words = "null" if value is None else str(value)
    return words + (", from the map" if _is_by_map(config) else "")


def _is_by_map(config: Mapping[str, object]) -> bool:
    return config.get(THRESHOLD) is None and config.get("method") == "exact"


def _words(config: Mapping[str, object], key: str) -> str:
    """A value as YAML has it; the other method (rule) may not read the key at all."""
    if key not in config:
        return "(not read)"
    value = config[key]
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
