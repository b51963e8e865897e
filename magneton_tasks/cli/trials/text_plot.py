"""A curve as lines of plain text, for any terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import log10

#: Rows and columns of the area that points stand in.
ROWS, COLUMNS = 9, 64


def plot(
    at: Sequence[float],
    values: Sequence[float],
    mark: float,
    words: Callable[[float], str],
    *,
    is_log: bool = False,
) -> Iterator[str]:
    """Draw values over thresholds.

    Parameters
    ----------
    at
        Thresholds, ascending.
    values
        One of each; above 0 where ``is_log``.
    mark
        A threshold that a line of ``|`` shows.
    words
        Of a value, beside the axis.
    """
    scaled = [log10(v) if is_log else v for v in values]
    low, high = min(scaled), max(scaled)
    rows = [round((ROWS - 1) * (v - low) / (high - low)) if high > low else 0 for v in scaled]
    columns = [_column(t, at) for t in at]
    lines = [[" "] * COLUMNS for _ in range(ROWS)]
    for line in lines:
        line[_column(min(max(mark, at[0]), at[-1]), at)] = "|"
    for column, row in zip(columns, rows, strict=True):
        lines[row][column] = "*"
    labels = {ROWS - 1: words(max(values)), 0: words(min(values))}
    width = max(map(len, labels.values()))
    for row in reversed(range(ROWS)):
        yield f"{labels.get(row, ''):>{width}} |{''.join(lines[row]).rstrip()}"
    yield f"{'':>{width}} +{'-' * COLUMNS}"
    first, last = f"{at[0]:g}", f"{at[-1]:g}"
    yield f"{'':>{width}}  {first}{last:>{COLUMNS - len(first)}}"


def _column(threshold: float, at: Sequence[float]) -> int:
    span = at[-1] - at[0]
    return round((COLUMNS - 1) * (threshold - at[0]) / span) if span else 0
