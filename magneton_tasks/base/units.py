"""Sizes and times for people: one parser and one printer for each."""

from __future__ import annotations

import re
import time
from math import inf, isfinite

_FACTORS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)


def parse_size(text: str | int) -> int:
    """Bytes of ``"8G"``, ``"8 GiB"``, ``"512MB"`` or a plain number; units are powers of 1024.

    Raises
    ------
    ValueError
        Where it isn't a size.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    match = _SIZE.fullmatch(str(text))
    found = float(match[1]) * _FACTORS[match[2].lower()] if match else inf
    if not isfinite(found):
        raise ValueError(
            f"{_short(text)} is not a size; write for instance 8GiB, 512M or a number of bytes"
        )
    return int(found)


def _short(text: object) -> str:
    shown = str(text)
    return repr(text) if len(shown) <= 60 else f"{shown[:50]!r}..."


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:\s*[0-9]+(?:\.[0-9]+)?\s*[smhdw])+\s*", re.IGNORECASE | re.ASCII)
_PART = re.compile(r"([0-9.]+)\s*([smhdw])", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds of ``"90s"``, ``"30m"`` (minutes), ``"12h"``, ``"7d"``, ``"2w"`` or ``"1d 12h"``.

    Raises
    ------
    ValueError
        Where it isn't a duration; a number alone isn't, because nobody knows its unit.
    """
    known = _DURATION.fullmatch(text) is not None
    found = sum(float(n) * _SECONDS[u.lower()] for n, u in _PART.findall(text)) if known else inf
    if not isfinite(found):
        raise ValueError(
            f"{_short(text)} is not a duration; write for instance 30m (minutes), 12h, 7d or 2w"
        )
    return found


def human_bytes(n: float) -> str:
    """``"7.3 GiB"``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(n) < 1024 or unit == "TiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    raise AssertionError


def human_time(seconds: float) -> str:
    """``"850 ms"``, ``"2.4 s"``, ``"12 s"``, ``"3 min 20 s"``, ``"2 h 5 min"``, ``"3 d 4 h"``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    for big, small, name, unit in (
        (60, 1, "min", "s"),
        (3600, 60, "h", "min"),
        (86400, 3600, "d", "h"),
    ):
        if seconds < big * (60 if big == 60 else 24) or name == "d":
            return f"{seconds // big:.0f} {name} {seconds % big // small:.0f} {unit}"
    raise AssertionError


def human_moment(seconds: float) -> str:
    """A time in unix seconds as ``2026-11-29 14:40:00``, on this machine's clock."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def human_count(n: int) -> str:
    """``"1,234,567"``."""
    return f"{n:,}"


def several(n: int, noun: str, plural: str | None = None) -> str:
    """``"1 block"``, ``"1,234 blocks"``; ``plural``: where it isn't the noun with an s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
