"""The tables of a join's children, one after the other and numbered through.

Columns are moved one at a time, and each child's is let go at once: a join of 10^8 edges must not
hold them twice.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.errors import BadDataError
from magneton_tasks.kernels.exact.residual import (
    DTYPES,
    BasinPairs,
    Basins,
    Edges,
    FaceBasins,
    Regions,
    Residual,
)

_MOST_ROWS = (1 << 32) - 2

#: Columns of one table, of each child.
Columns = list[list[NDArray[Any]]]


@dataclass(slots=True)
class Children:
    """What a join works on; its arrays are copies, to be written to.

    Attributes
    ----------
    regions, basins
        Row i is region (basin) i; row 0 stands for none.
    pairs, face_basins
        Of all children.
    edges
        Still each child's own, see `EdgeColumns`.
    """

    regions: Regions
    basins: Basins
    pairs: BasinPairs
    face_basins: FaceBasins
    edges: EdgeColumns


class EdgeColumns:
    """Edges of all children, handed out column by column, once each."""

    def __init__(self, edges: list[Edges], offsets: list[int]) -> None:
        self._columns: dict[str, list[NDArray[Any]]] = {
            name: [getattr(e, name) for e in edges] for name in Edges._fields
        }
        self._offsets = offsets
        self.rows = sum(e.u.size for e in edges)

    def take(self, name: str, more: NDArray[Any]) -> NDArray[Any]:
        """One column of all children, then ``more``; 8 B an edge, of which the children's go."""
        parts = self._columns.pop(name)
        column = np.empty(self.rows + more.size, DTYPES[Edges][Edges._fields.index(name)])
        column[self.rows :] = more
        offsets = self._offsets if name in ("u", "v") else [0] * len(parts)
        _move(parts, column, offsets)
        return column


def take_tables(children: list[Residual]) -> Children:
    """Empty the list of children and put their tables together."""
    residuals = children[:]
    children.clear()
    tables: dict[str, list[Any]] = {
        field.name: [getattr(residual, field.name) for residual in residuals]
        for field in fields(Residual)
    }
    del residuals
    regions = _offsets([r.block.size for r in tables["regions"]])
    basins = _offsets([b.region.size for b in tables["basins"]])
    return Children(
        edges=EdgeColumns(tables.pop("edges"), regions),
        regions=_stacked(Regions, tables.pop("regions"), {}, first=1),
        basins=_stacked(
            Basins, tables.pop("basins"), {"region": regions, "target": regions}, first=1
        ),
        pairs=_stacked(BasinPairs, tables.pop("pairs"), {"a": basins, "b": basins}),
        face_basins=_stacked(FaceBasins, tables.pop("face_basins"), {"index": basins}),
    )


def rows_of(table: Any, rows: Any) -> Any:
    """A table of some rows; a slice of them stays a view."""
    return type(table)(*(column[rows] for column in table))


def _offsets(rows: list[int]) -> list[int]:
    """What to add to each child's own indices."""
    total = sum(rows)
    if total > _MOST_ROWS:
        raise BadDataError(
            f"{total} open regions or basins in one join, more than {_MOST_ROWS}",
            "join fewer blocks at a time",
        )
    return [sum(rows[:i]) for i in range(len(rows))]


def _stacked(
    kind: type[Any], tables: list[Any], indices: dict[str, list[int]], first: int = 0
) -> Any:
    """Tables of one kind in one, behind ``first`` rows of zeros; columns of indices get offsets."""
    rows = first + sum(table[0].size for table in tables)
    columns = []
    for name, dtype in zip(kind._fields, DTYPES[kind], strict=True):
        column = np.zeros(rows, dtype)
        parts = [getattr(table, name) for table in tables]
        _move(parts, column[first:], indices.get(name, [0] * len(parts)))
        columns.append(column)
    return kind(*columns)


def _move(parts: list[NDArray[Any]], column: NDArray[Any], offsets: list[int]) -> None:
    """Fill a column with the parts, and let them go; 0 stays 0, whatever its offset."""
    begin = 0
    for i, offset in enumerate(offsets):
        part, parts[i] = parts[i], parts[i][:0]
        rows = column[begin : begin + part.size]
        rows[:] = part
        if offset:
            np.add(rows, offset, out=rows, where=rows > 0)
        begin += part.size
