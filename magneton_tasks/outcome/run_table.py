"""The table over the runs of a volume: its columns, as text, CSV and plain data.

Settings have a column where two runs differ in them, and no other does; what they were where a run's
method or rule doesn't read them stays empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from magneton_tasks.base.units import human_count, human_moment, human_time
from magneton_tasks.config import deciding
from magneton_tasks.config.differences import THRESHOLD
from magneton_tasks.config.thresholds import text_of
from magneton_tasks.outcome.run_rows import RunRow

Data = dict[str, Any]

_GIB = 2**30
#: Has columns of its own: what a result has, and who said so.
_TOLD = (THRESHOLD,)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes
    ----------
    name
        In CSV and JSON, with its unit.
    word
        Above it, for people; empty: they don't see it.
    of
        Its exact value in a row; None: nothing is known.
    text
        That value for people.
    is_number
        Whether it stands to the right.
    """

    name: str
    word: str
    of: Callable[[RunRow], object]
    text: Callable[[Any], str] = str
    is_number: bool = True


def _score(name: str) -> Callable[[RunRow], object]:
    return lambda row: (row.scores or {}).get(name)


def _hours(row: RunRow) -> float | None:
    return None if row.cpu_s is None else round(row.cpu_s / 3600, 6)


def _gib(row: RunRow) -> float | None:
    return None if row.peak_bytes is None else round(row.peak_bytes / _GIB, 4)


def _moment(row: RunRow) -> str:
    return datetime.fromtimestamp(row.started, UTC).isoformat(timespec="seconds")


def _from(row: RunRow) -> str | None:
    return row.threshold_from


def _figure(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def _threshold(value: float) -> str:
    return f"{value:.3g}"


def _score_text(value: float) -> str:
    return f"{value:.3f}"


#: What stands left and right of the settings.
_FIRST = (
    Column(
        "started", "started", _moment, lambda t: human_moment(datetime.fromisoformat(t).timestamp()),
        is_number=False,
    ),
    Column("run", "run", lambda row: row.run, is_number=False),
    Column("attempt", "attempt", lambda row: row.attempt),
    Column("partition", "partition", lambda row: row.partition, is_number=False),
    Column("state", "state", lambda row: row.state, is_number=False),
    Column("threshold", "threshold", lambda row: row.threshold, _threshold),
    Column("threshold_from", "from", _from, is_number=False),
)  # fmt: skip
_LAST = (
    Column("objects", "objects", lambda row: row.objects, human_count),
    Column("vi", "VI", _score("vi"), _score_text),
    Column("vi_split", "", _score("vi_split"), _score_text),
    Column("vi_merge", "", _score("vi_merge"), _score_text),
    Column("arand", "ARAND", _score("arand"), _score_text),
    Column("truth", "", _score("truth")),
    Column("cpu_hours", "CPU hours", _hours, _figure),
    Column("peak_gib", "peak GiB", _gib, _figure),
    Column(
        "duration_s", "duration",
        lambda row: None if row.seconds is None else round(row.seconds, 3), human_time,
    ),
    Column("directory", "", lambda row: row.directory),
)  # fmt: skip
#: Are left out where no run has anything there, or (release) all have the same.
_IF_KNOWN = ("partition", "vi", "arand")
_MAGNETON = Column("magneton", "magneton", lambda row: row.magneton, is_number=False)


def columns(rows: Sequence[RunRow]) -> list[Column]:
    """All columns of a table of these runs, those that people don't see included."""
    settings = [_setting(key) for key in differing(rows)]
    several = [_MAGNETON] if len({row.magneton for row in rows}) > 1 else []
    return [
        column
        for column in (*_FIRST, *several, *settings, *_LAST)
        if column.name not in _IF_KNOWN or any(column.of(row) is not None for row in rows)
    ]


def differing(rows: Sequence[RunRow]) -> list[str]:
    """The keys of settings in which runs differ, as far as their settings could be read."""
    known = [row.settings for row in rows if row.settings]
    found = sorted({key for settings in known for key in settings})
    return [key for key in found if key not in _TOLD and _is_mixed(key, known, rows)]


def _is_mixed(key: str, known: Sequence[Mapping[str, object]], rows: Sequence[RunRow]) -> bool:
    if len({str(_value(settings, key)) for settings in known}) < 2:
        return False
    # paths that differ in nothing but what their placeholders stand for say nothing more than that
    return len({_pattern(row, key) for row in rows if row.settings}) > 1


def _pattern(row: RunRow, key: str) -> str:
    """A value; of a path without the partition and the threshold that it may be called by."""
    text = str(_value(row.settings, key))
    if not key.startswith("paths."):
        return text
    names = (row.partition, None if row.threshold is None else text_of(row.threshold))
    for name in names:
        text = text.replace(name, "{}") if name else text
    return text


def _value(settings: Mapping[str, object], key: str) -> object:
    """What a run had; a key younger than it: what stood for it then."""
    return settings.get(key, deciding.before(key))


def _setting(key: str) -> Column:
    return Column(key, key, lambda row: _written(row, key), is_number=False)


def _written(row: RunRow, key: str) -> object:
    """As YAML has it; None where nothing is known, or the run doesn't read the key."""
    if not row.settings or (key not in row.settings and deciding.before(key) is None):
        return None
    value = _value(row.settings, key)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else value


# ------------------------------------------------------------------ as text, CSV, data
def texts(rows: Sequence[RunRow]) -> tuple[list[Column], list[list[str]]]:
    """The columns that people see, and each row's texts; empty: nothing is known."""
    shown = [column for column in columns(rows) if column.word]
    return shown, [[_text(column, row) for column in shown] for row in rows]


def _text(column: Column, row: RunRow) -> str:
    value = column.of(row)
    return "" if value is None else column.text(value)


def as_csv(rows: Sequence[RunRow]) -> str:
    """A line of names, then a line per run; UTC, seconds, hours and GiB."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    used = columns(rows)
    writer.writerow(column.name for column in used)
    for row in rows:
        values = (column.of(row) for column in used)
        writer.writerow("" if value is None else value for value in values)
    return made.getvalue()


def as_data(rows: Sequence[RunRow]) -> Data:
    """As ``--json`` and the page have it: names, words, exact values and texts."""
    used = columns(rows)
    return {
        "columns": [{"name": c.name, "word": c.word, "is_number": c.is_number} for c in used],
        "runs": [{c.name: c.of(row) for c in used} for row in rows],
        "texts": [{c.name: _text(c, row) for c in used if c.word} for row in rows],
    }
