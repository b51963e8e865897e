"""The figures of one block or cell, each told once: what it is called, in which unit, where it stands.

The block map, the page's tables, report.json and `magneton status --slow` go through this list, so a
figure that a stage writes into its records (`work.record.Info`) is shown by a line here. Figures of a
whole stage stand in `summary`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.work.record import Record

NAN = math.nan
_MIB = 2**20


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a block or cell.

    Attributes
    ----------
    name
        In JSON, for good.
    word
        What it is called on the page and in tables.
    unit
        Decides how it is rounded and written; ``number``: of something that is counted.
    of
        What a record says of it; None: nothing.
    together
        What holds for several blocks that the map draws as one square.
    of_results
        Whether it counts only while the record is a valid result.
    report_stage
        The only stage of which report.json has it; None: all.
    """

    name: str
    word: str
    unit: Literal["s", "bytes", "number"]
    of: Callable[[Record], float | None]
    together: Callable[[Sequence[float]], float]
    of_results: bool = False
    report_stage: str | None = None

    def column_value(self, record: Record | None, *, is_result: bool) -> float:
        """What a column of floats holds of a record; NaN: nothing is known."""
        if record is None or (self.of_results and not is_result):
            return NAN
        value = self.of(record)
        return NAN if value is None else float(value)

    def exact(self, value: float) -> float | None:
        """A column's value as JSON has it: times as they are, all else as whole numbers."""
        if value != value:
            return None
        return value if self.unit == "s" else int(value)

    def mean(self, value: float) -> float | None:
        """As `exact`, of several blocks: a mean of times has no more digits than a time."""
        found = self.exact(value)
        return found if found is None or self.unit != "s" else round(found, 3)

    @property
    def map_name(self) -> str:
        """What a layer of the map calls it: bytes are MiB there."""
        return self.name.replace("_bytes", "_mib")

    def short(self, value: float) -> float | None:
        """A column's value for a layer of the map, in three digits where it is a time."""
        if value != value:
            return None
        if self.unit == "bytes":
            return round(value / _MIB)
        if self.unit == "number":
            return int(value)
        return round(value) if value >= 100 else float(f"{value:.3g}")

    def text(self, value: float | None) -> str:
        """For people; empty where nothing is known."""
        if value is None:
            return ""
        return {"s": human_time, "bytes": human_bytes, "number": "{:,}".format}[self.unit](value)


#: In the order in which they are shown.
FIGURES: tuple[Figure, ...] = (
    Figure("seconds", "time", "s", lambda r: r.seconds, _mean),
    Figure("cpu_s", "CPU time", "s", lambda r: r.cpu_s, _mean),
    Figure("peak_bytes", "peak memory", "bytes", lambda r: r.peak_bytes, max),
    Figure(
        "labels", "labels", "number", lambda r: r.info.get("n"), sum,
        of_results=True, report_stage="segment",
    ),
)  # fmt: skip


def told(record: Record) -> dict[str, float | None]:
    """All figures of a record, by name."""
    return {figure.name: figure.of(record) for figure in FIGURES}


def for_page() -> list[Mapping[str, str]]:
    """What the page must know to show them."""
    return [
        {"name": f.name, "map_name": f.map_name, "word": f.word, "unit": f.unit} for f in FIGURES
    ]
