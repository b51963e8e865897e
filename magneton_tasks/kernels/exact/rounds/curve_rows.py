"""Curves as tables of what isn't 0, for files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from magneton_tasks.kernels.exact.map_threshold import LEVELS, ThresholdSums
from magneton_tasks.kernels.exact.rounds.curve import Curve, Largest
from magneton_tasks.kernels.exact.rounds.tables import Int64


class CurveRows(NamedTuple):
    """Numbers of a `curve.Curve` and where they stand in it, 16 B each."""

    place: Int64
    value: Int64


def to_rows(curve: Curve) -> CurveRows:
    """A curve without its zeros."""
    numbers = np.concatenate([column.reshape(-1) for column in _columns(curve)])
    places = np.flatnonzero(numbers)
    return CurveRows(places, numbers[places])


def of_rows(rows: CurveRows) -> Curve:
    """Back from `to_rows`."""
    shapes = [column.shape for column in _columns(Curve.nothing())]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    numbers = np.zeros(ends[-1], np.int64)
    numbers[rows.place] = rows.value
    bins, five, classes, voxels, ids = (
        part.reshape(shape)
        for part, shape in zip(np.split(numbers, ends[:-1]), shapes, strict=True)
    )
    return Curve(ThresholdSums(bins, *five.tolist()), classes, Largest(voxels, ids))


def added_up(curves: Iterable[Curve]) -> Curve:
    """All of them together."""
    total = Curve.nothing()
    for curve in curves:
        total += curve
    return total


def at_level(threshold: float) -> int:
    """The level that stands for a threshold: the highest that isn't above it, or the lowest of all."""
    return max(int(np.searchsorted(LEVELS, threshold, side="right")) - 1, 0)


def _columns(curve: Curve) -> list[Int64]:
    rule = curve.rule
    five = (rule.pair_sum, rule.pair_count, rule.contact_sum, rule.contact_count, rule.voxels)
    return [rule.bins, np.array(five, np.int64), curve.classes, *curve.largest]
