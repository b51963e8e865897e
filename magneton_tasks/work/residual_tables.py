"""What a block leaves open as Parquet, member by member; what `work.residuals` keeps in one file each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from magneton_tasks.kernels.exact.faces import Faces
from magneton_tasks.kernels.exact.fixed_point import KEY_BITS
from magneton_tasks.kernels.exact.residual import (
    BasinPairs,
    Basins,
    Edges,
    Residual,
)
from magneton_tasks.kernels.exact.rounds.tables import Nodes, labels_of
from magneton_tasks.work import parquet
from magneton_tasks.work.parquet import Column, Columns

RESIDUAL: dict[str, type[Any]] = {
    "edges": Edges, "basins": Basins, "pairs": BasinPairs,
}  # fmt: skip
#: Columns that rise, or nearly.
_RISING = frozenset({"u", "region", "block", "basin", "index", "least"})
_FEW = frozenset({"key_affinity", "sides"})
SIDES = b"magneton.sides"


def block_members(
    residual: Residual, regions: Nodes, faces: Faces
) -> Iterator[tuple[str, memoryview]]:
    """Every table, also those without rows: one that isn't there is damage."""
    columns: Columns = {
        "size": regions.size, "least": labels_of(regions.least).astype(np.uint32), "low": regions.low,
    }  # fmt: skip
    yield "regions", _encode(parquet.sliced(columns))
    for name in RESIDUAL:
        yield name, _encode_table(getattr(residual, name))
    if faces:
        yield "faces", encode_faces(faces)


def _encode_table(table: Any) -> memoryview:
    groups = map(_with_positions, parquet.sliced(table._asdict()))
    return _encode(groups)


def _encode(groups: Iterable[Columns]) -> memoryview:
    """What `clean` frees as a cache is packed for speed."""
    return parquet.encode(groups, rising=_RISING, few=_FEW, compression="lz4")


def _with_positions(columns: Columns) -> Columns:
    """The same with affinity and position in place of each key."""
    found: Columns = {}
    for name, column in columns.items():
        if name.endswith("key"):
            affinity, position = _split(column)
            found[f"{name}_affinity"], found[f"{name}_position"] = affinity, position
        else:
            found[name] = column
    if "last" in found:
        found["last_after"] = found.pop("last") - found["key_position"]
    return found


def fill(column: Column, name: str, stored: Columns) -> None:
    """A column, in place, of what `_with_positions` made."""
    if name.endswith("key"):
        np.left_shift(stored[f"{name}_affinity"], KEY_BITS, out=column, dtype=np.int64)
        column -= stored[f"{name}_position"]
    elif name == "last":
        np.add(stored["last_after"], stored["key_position"], out=column)
    else:
        column[...] = stored[name]


def _split(key: Column) -> tuple[Column, Column]:
    """(affinity uint8, position int64) of keys; (0, 0) of 0, which is none."""
    affinity = (key + ((1 << KEY_BITS) - 1)) >> KEY_BITS
    if affinity.max(initial=0) > 255:
        raise ValueError("a key's affinity isn't a uint8")
    return affinity.astype(np.uint8), (affinity << KEY_BITS) - key


def encode_faces(faces: Faces) -> memoryview:
    """All faces as one table: a row group each, in the order of the sides."""
    sides = sorted(faces)
    listed = [(axis, side, faces[axis, side].basins.shape) for axis, side in sides]
    planes: list[Columns] = []
    for side in sides:
        face, shape = faces[side], faces[side].basins.shape
        affinity = np.zeros(shape, np.uint8) if face.affinity is None else face.affinity
        named = {"basins": face.basins, "picks": face.picks, "affinity": affinity}
        planes.append({name: plane.reshape(-1) for name, plane in named.items()})
    return parquet.encode(planes, metadata={SIDES: json.dumps(listed).encode()}, compression="lz4")
