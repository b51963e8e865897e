from __future__ import annotations

import pytest

from magneton_tasks.base.units import (
    human_bytes,
    human_count,
    human_time,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (123, 123),
        ("123", 123),
        ("8GiB", 8 * 2**30),
        ("8 G", 8 * 2**30),
        ("8gb", 8 * 2**30),
        ("512M", 512 * 2**20),
        ("1.5 TiB", 3 * 2**39),
        (".5k", 512),
    ],
)
def test_sizes_as_people_write_them(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "lots", "8 X", "-1G", "1e9", "8GiB!", True])
def test_what_isn_t_a_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="8GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (7.3 * 2**30, "7.3 GiB"),
     (5000 * 2**40, "5000.0 TiB")],
)  # fmt: skip
def test_human_bytes(n: float, text: str) -> None:
    assert human_bytes(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.85, "850 ms"), (2.44, "2.4 s"), (9.97, "10 s"), (12, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"),
     (273600, "3 d 4 h"), (10**7, "115 d 17 h"), (3599, "59 min 59 s"), (86399, "23 h 59 min")],
)  # fmt: skip
def test_human_time(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


def test_human_count() -> None:
    assert human_count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        ("1d 12h", 129_600),
        (" 7 D ", 604_800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 years", "-7d", "7d ago", "1e3s", "٣d", "1..5h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for instance 30m"):
        parse_duration(text)
