"""Blocks as squares: what a block map draws of a stage, layer by layer, as plain data.

A map has a head and its layers::

    head:  {"stage": "segment", "noun": "block", "grid": [z, y, x], "factor": [1, 1, 1],
            "layers": 10, "shape": [y, x], "cuts": [[z...], [y...], [x...]]}
    layer: {"states": "ddedf...", "seconds": [9.9, ...], "cpu_s": [...], "peak_mib": [...],
            "labels": [...], "hosts": [0, 512, 1, 512], "runs": [0, 1024], "times": [...],
            "causes": {"7": "..."}}

Each column of a layer has one entry per square, in raster order; hosts and runs are runs of equal values
(an index into the summary's list of names, -1 for none, and how often). Causes are those of blocks that
failed, by their index. A column that nothing is known for is left out. Of many blocks, ``factor``
blocks along each axis become one square: their worst state, and of each of `FIGURES` what it says
holds for them together (mean times, highest memory, labels in all). Standard library and light rooms only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from magneton_tasks.base.geometry import Vec3, ceil_div, vec3
from magneton_tasks.outcome.block_columns import StageColumns, worst
from magneton_tasks.outcome.figures import FIGURES, NAN
from magneton_tasks.plan.stage_table import noun_of

Data = dict[str, Any]

#: Squares of one layer that is asked for, and of all layers together: 10^5 of them make some 2 MB.
MOST_OF_LAYER, MOST_OF_ALL = 10_000, 100_000


def layer_factor(shape: Vec3) -> Vec3:
    """How many blocks along each axis become one square where layers are asked for one by one."""
    return _coarsening(shape, (1, 2), MOST_OF_LAYER)


def whole_factor(shape: Vec3) -> Vec3:
    """The same where all layers are kept together."""
    return _coarsening(shape, (0, 1, 2), MOST_OF_ALL)


def whole_factor_of(columns: StageColumns) -> Vec3:
    assert columns.grid is not None
    return whole_factor(columns.grid.shape)


def _shape(columns: StageColumns, factor: Vec3) -> list[int]:
    """How many squares there are along each axis."""
    assert columns.grid is not None
    return [ceil_div(n, f) for n, f in zip(columns.grid.shape, factor, strict=True)]


def _coarsening(shape: Vec3, axes: Sequence[int], most: int) -> Vec3:
    factor = [1, 1, 1]
    while prod(ceil_div(shape[a], factor[a]) for a in axes) > most:
        factor[max(axes, key=lambda a: ceil_div(shape[a], factor[a]))] *= 2
    return vec3(factor)


def squares(shape: Vec3, factor: Vec3, z: int) -> Iterator[list[int]]:
    """The blocks of each square of a layer of squares, in raster order."""
    for corner in product(*(range(0, n, f) for n, f in zip(shape[1:], factor[1:], strict=True))):
        ranges = (
            range(c, min(c + f, n))
            for c, f, n in zip((z * factor[0], *corner), factor, shape, strict=True)
        )
        yield [(i * shape[1] + j) * shape[2] + k for i, j, k in product(*ranges)]


@dataclass(frozen=True, slots=True)
class Squares:
    """The columns of one layer; NaN where nothing is known. The last three: of single blocks only."""

    states: str
    figures: Mapping[str, Sequence[float]]
    hosts: Sequence[int] = ()
    runs: Sequence[int] = ()
    times: Sequence[float] = ()


def layer_of(columns: StageColumns, factor: Vec3, z: int) -> Squares:
    """The squares of one layer."""
    assert columns.grid is not None
    shape = columns.grid.shape
    if factor == (1, 1, 1):
        one = slice(z * shape[1] * shape[2], (z + 1) * shape[1] * shape[2])
        figures = {name: column[one] for name, column in columns.figures.items()}
        states, times = columns.states[one].decode(), columns.times[one]
        return Squares(states, figures, columns.hosts[one], columns.runs[one], times)
    groups = list(squares(shape, factor, z))
    return Squares(
        "".join(worst(columns.states[k] for k in group) for group in groups),
        {f.name: _reduced(columns.figures[f.name], groups, f.together) for f in FIGURES},
    )


def draw(columns: StageColumns) -> list[Squares]:
    """The squares of all layers."""
    factor = whole_factor_of(columns)
    return [layer_of(columns, factor, z) for z in range(_shape(columns, factor)[0])]


def _reduced(
    column: Sequence[float], groups: list[list[int]], reduce: Callable[[Sequence[float]], float]
) -> list[float]:
    known = ([v for k in group if (v := column[k]) == v] for group in groups)
    return [reduce(values) if values else NAN for values in known]


# ------------------------------------------------------------------ for people: three digits
def head(columns: StageColumns, factor: Vec3) -> Data:
    """What holds for all layers of a stage.

    Raises
    ------
    KeyError
        The stage has no map: it is one piece.
    """
    if columns.grid is None:
        raise KeyError(columns.stage)
    shape = _shape(columns, factor)
    return {
        "stage": columns.name,
        "noun": noun_of(columns.stage),
        "grid": list(columns.grid.shape),
        "factor": list(factor),
        "layers": shape[0],
        "shape": shape[1:],
        "cuts": _cuts(columns, factor),
    }


def _cuts(columns: StageColumns, factor: Vec3) -> list[list[int]]:
    assert columns.grid is not None
    return [[*c[:-1:f], c[-1]] for c, f in zip(columns.grid.cuts, factor, strict=True)]


def layer(columns: StageColumns, factor: Vec3, z: int, *, with_times: bool) -> Data:
    """One layer, as a page shows it; ``with_times``: also when each block's record was written."""
    return _told(columns, factor, z, layer_of(columns, factor, z), with_times=with_times)


def _told(columns: StageColumns, factor: Vec3, z: int, found: Squares, *, with_times: bool) -> Data:
    data: Data = {
        "states": found.states,
        **{f.map_name: [f.short(v) for v in found.figures[f.name]] for f in FIGURES},
        "hosts": repeats(found.hosts),
        "runs": repeats(found.runs),
        "times": [None if v != v else int(v) for v in found.times] if with_times else [],
    }
    kept = {name: c for name, c in data.items() if name == "states" or _is_known(c)}
    causes = _causes(columns, z) if factor == (1, 1, 1) else {}
    return kept | {"causes": causes} if causes else kept


def _causes(columns: StageColumns, z: int) -> Data:
    """Why blocks of a layer failed, by their index."""
    assert columns.grid is not None
    each = prod(columns.grid.shape[1:])
    failed = ((k, r.info.get("cause")) for k, r in columns.failed.items() if k // each == z)
    return {str(k): cause or "unknown" for k, cause in sorted(failed)}


def whole(columns: StageColumns, drawn: Sequence[Squares]) -> Data:
    """All layers of a stage, with their head; ``drawn``: by `draw`."""
    factor = whole_factor_of(columns)
    layers = [_told(columns, factor, z, found, with_times=False) for z, found in enumerate(drawn)]
    return {"head": head(columns, factor), "layers": layers}


def _is_known(column: Iterable[float | None]) -> bool:
    return any(v is not None for v in column)


def repeats(values: Iterable[int]) -> list[int]:
    """Each value and how often it comes in a row: [value, times, value, times, ...]."""
    found: list[int] = []
    for value in values:
        if found and found[-2] == value:
            found[-1] += 1
        else:
            found += (value, 1)
    return found


# ------------------------------------------------------------------ for report.json: exact
def exact(columns: StageColumns, layers: Sequence[Squares]) -> Data:
    """The map of report.json: exact figures, all layers in one; ``layers``: by `draw`."""
    factor = whole_factor_of(columns)
    is_single = factor == (1, 1, 1)
    data: Data = {}
    for figure in FIGURES:
        if figure.report_stage in (None, columns.stage):
            told = figure.exact if is_single else figure.mean
            data[figure.name] = [told(v) for found in layers for v in found.figures[figure.name]]
    if is_single:
        data |= {"hosts": repeats(columns.hosts), "runs": repeats(columns.runs)}
    return {
        "stage": columns.name,
        "noun": noun_of(columns.stage),
        "shape": _shape(columns, factor),
        "factor": list(factor),
        "cuts": _cuts(columns, factor),
        "states": "".join(found.states for found in layers),
        **{name: column for name, column in data.items() if _is_known(column)},
    }
