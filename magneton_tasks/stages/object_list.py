"""The objects of a volume: a table of all beside the output, and the largest in Neuroglancer's list.

apply leaves a table of each cell's objects (`work.cell_objects`), and verify adds them up: range by
range of ids, so that as many objects as there may be take no more memory than `ROWS` of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed import properties
from magneton_tasks.kernels.object_sums import ObjectSums, merged, none
from magneton_tasks.work import cell_objects, parquet
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.parquet import Columns
from magneton_tasks.work.record import Record

TABLE = "objects.parquet"
#: Rows of cells' tables that are put together at once: some 200 bytes each.
ROWS = 4_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """What verify compares: how many objects there are, and the voxels of all of them.

    ``files``: what was written, by path below the output.
    """

    objects: int
    voxels: int
    files: Mapping[str, FileInfo]


def write(attempt: Attempt, cells: Mapping[int, Record], objects: Objects) -> Found | None:
    """Write both, where they aren't so yet; None: cells of an earlier release have no tables.

    Parameters
    ----------
    cells
        The valid records of all cells of apply, by ascending key.
    objects
        The output's files.

    Raises
    ------
    NotVisibleError, CorruptFileError
        As `cell_objects.read`.
    OutputError, TemporaryError
        The output can't be written.
    """
    if not all(map(cell_objects.has_table, cells.values())):
        return None
    box, listed = attempt.plan.geometry.box, attempt.config.apply.listed_objects
    largest, counted = none(), [0, 0]

    def groups() -> Iterator[Columns]:
        nonlocal largest
        for sums in _whole(attempt, cells):
            counted[0] += sums.id.size
            counted[1] += int(sums.voxels.sum())
            largest = _largest([largest, sums], listed)
            yield from parquet.sliced(_columns(attempt, sums, box))

    table = bytes(parquet.encode(groups(), rising=("id",)))
    if objects.get(TABLE) != table:
        objects.put(TABLE, table)
        objects.sync_directory()
    files = {TABLE: FileInfo(len(table), crc32(table))}
    files |= properties.write(objects, _properties(attempt, largest, box) if listed else None)
    return Found(counted[0], counted[1], files)


def _whole(attempt: Attempt, cells: Mapping[int, Record]) -> Iterator[ObjectSums]:
    """All objects, ids ascending, some at a time: at least one table, that may have no rows."""
    rows = {key: record.info["rows"]["objects"] for key, record in cells.items()}
    shares = -(-sum(rows.values()) // ROWS)
    if shares <= 1:
        yield merged([none(), *cell_objects.read(attempt, cells.items())])
        return
    sample = [t.id[::100] for c in cells.items() for t in cell_objects.read(attempt, [c])]
    ids = np.sort(np.concatenate(sample))
    ends = [*ids[:: -(-ids.size // shares)][1:], None]
    begin = np.uint64(0)
    for end in ends:
        yield _range(attempt, cells, begin, end)
        begin = end if end is not None else begin


def _range(
    attempt: Attempt, cells: Mapping[int, Record], begin: np.uint64, end: np.uint64 | None
) -> ObjectSums:
    """The objects whose ids lie in [begin, end)."""
    parts, held = [none()], 0
    for cell in cells.items():
        (table,) = cell_objects.read(attempt, [cell])
        first = int(np.searchsorted(table.id, begin))
        last = table.id.size if end is None else int(np.searchsorted(table.id, end))
        parts.append(ObjectSums._make(column[first:last].copy() for column in table))
        held += last - first
        if held > ROWS:
            parts = [merged(parts)]
            held = 0
    return merged(parts)


def _largest(parts: list[ObjectSums], most: int) -> ObjectSums:
    """The largest of some objects, of equals those of lower ids; ids ascending."""
    columns = ObjectSums._make(np.concatenate(column) for column in zip(*parts, strict=True))
    kept = np.sort(np.lexsort((columns.id, -columns.voxels))[:most])
    return ObjectSums._make(column[kept] for column in columns)


def _um3(attempt: Attempt, voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    z, y, x = attempt.plan.volume.voxel_size_nm
    return voxels.astype(np.float64) * (z * y * x * 1e-9)


def _touches_border(sums: ObjectSums, box: Box) -> NDArray[np.bool_]:
    low, high = (sums.low_z, sums.low_y, sums.low_x), (sums.high_z, sums.high_y, sums.high_x)
    found = np.zeros(sums.id.size, np.bool_)
    for axis in range(3):
        found |= (low[axis] == box.begin[axis]) | (high[axis] == box.end[axis])
    return found


def _columns(attempt: Attempt, sums: ObjectSums, box: Box) -> Columns:
    """As docs/objects.md describes them."""
    columns: Columns = {
        "id": sums.id,
        "voxels": sums.voxels,
        "um3": _um3(attempt, sums.voxels),
    }
    for name, of in (("begin", "low"), ("end", "high")):
        columns |= {f"{name}_{axis}": getattr(sums, f"{of}_{axis}") for axis in "zyx"}
    for axis, origin in zip("zyx", box.begin, strict=True):
        mean = getattr(sums, f"sum_{axis}") / np.maximum(sums.voxels, 1)
        columns[f"centroid_{axis}"] = origin + mean + 0.5
    return columns | {"touches_border": _touches_border(sums, box)}


def _properties(attempt: Attempt, largest: ObjectSums, box: Box) -> dict[str, Any]:
    order = np.lexsort((largest.id, -largest.voxels))
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(1, order.size + 1)
    edges = [
        (getattr(largest, f"high_{axis}") - getattr(largest, f"low_{axis}")) * size
        for axis, size in zip("zyx", attempt.plan.volume.voxel_size_nm, strict=True)
    ]
    return properties.content(
        largest.id,
        [str(r) for r in rank],
        {
            "voxels": ("voxels at the finest mip", largest.voxels),
            "um3": ("volume in cubic micrometres", _um3(attempt, largest.voxels)),
            "extent_um": ("longest edge of the box around it", np.max(edges, axis=0) / 1e3),
        },
        {"touches-border": _touches_border(largest, box)},
    )
