"""What count writes, as Parquet files: pairs, and label sizes.

They are written atomically, with a checksum in each page that reading verifies. Those of many blocks
share a file; a block's record says which rows are its own, so a reader passes row ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.work import parquet
from magneton_tasks.work.parquet import ROW_GROUP, Column, Columns
from magneton_tasks.work.record import Kind

if TYPE_CHECKING:  # numba costs a second to import
    from magneton_tasks.kernels.overlap.overlap import Pairs

#: Rows of the pair table: see `kernels.overlap.overlap.Pairs`. All uint32.
PAIR_COLUMNS = ("block_a", "block_b", "label_a", "label_b", "n", "a_in", "b_in", "a_all", "b_all")
_GROUPS: dict[Kind, tuple[str, ...]] = {
    "pairs": ("block_a", "block_b"), "sizes": ("block",),
}  # fmt: skip

#: Rows read at a time.
_ROW_GROUP = ROW_GROUP


def pair_columns(blocks: Iterable[tuple[int, int, Pairs]]) -> Columns:
    """The columns of `PAIR_COLUMNS` for (block a, block b, their pairs), in the given order."""
    pairs = list(blocks)
    counts = [len(p) for _, _, p in pairs]
    columns: Columns = {
        "block_a": np.repeat(np.array([a for a, _, _ in pairs], np.uint32), counts),
        "block_b": np.repeat(np.array([b for _, b, _ in pairs], np.uint32), counts),
    }
    for name in PAIR_COLUMNS[2:]:
        columns[name] = parquet.joined([getattr(p, name) for _, _, p in pairs])
    return columns


def write_pairs(path: Path, columns: Mapping[str, Column]) -> FileInfo:
    """Write a pair table; the rows of a block pair lie together.

    Parameters
    ----------
    columns
        `PAIR_COLUMNS`, each uint32 (rows,).

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    return parquet.write(path, {name: columns[name] for name in PAIR_COLUMNS}, _ROW_GROUP)


def write_label_sizes(path: Path, blocks: Iterable[tuple[int, Column, Column]]) -> FileInfo:
    """Write the sizes of blocks: (block, core (n,), read (n,)) for labels 1..n.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    sizes = list(blocks)
    counts = [len(core) for _, core, _ in sizes]
    columns = {
        "block": np.repeat(np.array([block for block, _, _ in sizes], np.uint32), counts),
        "core": parquet.joined([core for _, core, _ in sizes]),
        "read": parquet.joined([read for _, _, read in sizes]),
    }
    return parquet.write(path, columns, _ROW_GROUP)


def iter_rows(
    path: Path,
    info: FileInfo | None,
    ranges: Sequence[tuple[int, int]] | None,
    kind: Kind,
    wait_s: float,
    columns: Sequence[str] | None = None,
    *,
    is_sound: bool = False,
) -> Iterator[Columns]:
    """Read rows of a pair or size table in bounded memory.

    Parameters
    ----------
    info
        What the records say of the file; without it any size will do.
    ranges
        Rising row ranges (begin, end) to read, each of whole blocks; None: all rows.
    columns
        Names of the columns to read, with those of the blocks; None: all.
    is_sound
        Whether the caller knows that the file is as ``info`` says (`require_sound`).

    Yields
    ------
    dict
        Columns of about 260,000 rows; never a part of a block pair (pairs) or block (sizes).

    Raises
    ------
    NotVisibleError
        The file isn't there within ``wait_s``.
    CorruptFileError
        It is truncated or damaged (pages have checksums of their own, but what tells where they
        lie has none), or has fewer rows than recorded.
    """
    files.await_file(path, info.size if info else None, wait_s)
    if info is not None and not is_sound:
        parquet.require_sound(path, info)
    keys = _GROUPS[kind]
    names = None if columns is None else list(dict.fromkeys([*keys, *columns]))
    yield from _whole_groups(_read_ranges(path, ranges, names), keys)


def _read_ranges(
    path: Path, ranges: Sequence[tuple[int, int]] | None, columns: Sequence[str] | None
) -> Iterator[Columns]:
    with parquet.opened(path) as table:
        metadata = table.metadata
        wanted = [(0, metadata.num_rows)] if ranges is None else list(ranges)
        if wanted and wanted[-1][1] > metadata.num_rows:
            raise parquet.corrupt(path, f"{metadata.num_rows} rows, {wanted[-1][1]} recorded")
        begin = 0
        for group in range(metadata.num_row_groups):
            end = begin + metadata.row_group(group).num_rows
            inside = [(max(b, begin), min(e, end)) for b, e in wanted if b < end and e > begin]
            if inside:
                yield _select(parquet.read(table, [group], columns), inside, begin)
            begin = end


def _select(columns: Columns, ranges: Sequence[tuple[int, int]], origin: int) -> Columns:
    merged: list[tuple[int, int]] = []
    for begin, end in ranges:
        if merged and merged[-1][1] == begin:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((begin, end))
    slices = [slice(begin - origin, end - origin) for begin, end in merged]
    if len(slices) == 1:
        return {name: column[slices[0]] for name, column in columns.items()}
    return {name: np.concatenate([c[s] for s in slices]) for name, c in columns.items()}


def _whole_groups(batches: Iterable[Columns], keys: Sequence[str]) -> Iterator[Columns]:
    """Cut a stream of rows anew, so that no run of equal keys is torn."""
    held: Columns | None = None
    for batch in batches:
        columns = batch
        if held is not None:
            columns = {name: np.concatenate((held[name], batch[name])) for name in batch}
        changes = np.logical_or.reduce([columns[k][1:] != columns[k][:-1] for k in keys])
        borders = np.flatnonzero(changes)
        cut = int(borders[-1]) + 1 if len(borders) else 0
        held = {name: column[cut:].copy() for name, column in columns.items()}
        if cut:
            yield {name: column[:cut] for name, column in columns.items()}
    if held is not None and len(held[keys[0]]):
        yield held
