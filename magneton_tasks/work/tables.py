"""Tables as Parquet files: pairs, contacts and label sizes (of count), and the pool table (of pool).

All are written atomically, with a checksum in each page that reading verifies. Pairs and sizes of
many blocks share a file; a block's record says which rows are its own, so a reader passes row
ranges. The pool table has one file a range of blocks, ``pool-<first>-<stop>.parquet``, sorted by
block and label; a block's rows are found by the offsets in the file's metadata.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.work import parquet
from magneton_tasks.work.parquet import ROW_GROUP, Column, Columns
from magneton_tasks.work.record import Kind

if TYPE_CHECKING:  # numba costs a second to import
    from magneton_tasks.kernels.exact.residual import Contacts
    from magneton_tasks.kernels.overlap.overlap import Pairs

#: Rows of the pair table: see DESIGN and `kernels.overlap.overlap.Pairs`. All uint32.
PAIR_COLUMNS = ("block_a", "block_b", "label_a", "label_b", "n", "a_in", "b_in", "a_all", "b_all")
#: One row a label, in the order of labels: voxels in the core and in the read box. All uint32.
SIZE_COLUMNS = ("block", "core", "read")
_GROUPS: dict[Kind, tuple[str, ...]] = {
    "pairs": ("block_a", "block_b"), "sizes": ("block",), "contacts": ("block_a", "block_b"),
}  # fmt: skip

#: Rows read at a time.
_ROW_GROUP = ROW_GROUP
#: Rows of the pool table read at a time: a few blocks.
_POOL_ROW_GROUP = 1 << 15
_POOL_NAME = re.compile(r"pool-(\d+)-(\d+)\.parquet")
_OFFSETS = b"magneton.offsets"


# ---------------------------------------------------------------------------- pairs and sizes


def pair_columns(blocks: Iterable[tuple[int, int, Pairs]]) -> Columns:
    """The columns of `PAIR_COLUMNS` for (block a, block b, their pairs), in the given order."""
    pairs = list(blocks)
    counts = [len(p) for _, _, p in pairs]
    columns: Columns = {
        "block_a": np.repeat(np.array([a for a, _, _ in pairs], np.uint32), counts),
        "block_b": np.repeat(np.array([b for _, b, _ in pairs], np.uint32), counts),
    }
    for name in PAIR_COLUMNS[2:]:
        columns[name] = _joined([getattr(p, name) for _, _, p in pairs])
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
    return _write(path, {name: columns[name] for name in PAIR_COLUMNS}, _ROW_GROUP)


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
        "core": _joined([core for _, core, _ in sizes]),
        "read": _joined([read for _, _, read in sizes]),
    }
    return _write(path, columns, _ROW_GROUP)


def write_contacts(path: Path, contacts: Contacts) -> FileInfo:
    """Write a contact table (exact method); the rows of a block pair lie together.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    return _write(path, contacts._asdict(), _ROW_GROUP)


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
    """Read rows of a pair, contact or size table in bounded memory.

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
        Columns of about 260,000 rows; never a part of a block pair (pairs, contacts) or block (sizes).

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
        require_sound(path, info)
    keys = _GROUPS[kind]
    names = None if columns is None else list(dict.fromkeys([*keys, *columns]))
    yield from _whole_groups(_read_ranges(path, ranges, names), keys)


def iter_pairs(path: Path, wait_s: float = 0.0) -> Iterator[Columns]:
    """All rows of a pair table; see `iter_rows`."""
    return iter_rows(path, None, None, "pairs", wait_s)


def iter_label_sizes(path: Path, wait_s: float = 0.0) -> Iterator[Columns]:
    """All rows of a size table; see `iter_rows`."""
    return iter_rows(path, None, None, "sizes", wait_s)


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


# ---------------------------------------------------------------------------- the pool table


def write_pool(directory: Path, ids: Mapping[int, Column]) -> tuple[str, FileInfo]:
    """Write the pool table's file of a range of blocks; its name, size and checksum.

    Parameters
    ----------
    ids
        Block -> uint64 (n,), the global ids of labels 1..n; of consecutive blocks.

    Raises
    ------
    OutputError
        Disk full, quota, I/O error.
    """
    blocks = sorted(ids)
    first, stop = blocks[0], blocks[-1] + 1
    if len(blocks) != stop - first:
        raise ValueError(f"blocks {first} to {stop - 1} have gaps")
    counts = [len(ids[block]) for block in blocks]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype("<i8")
    columns = {
        "block": np.repeat(np.array(blocks, np.uint32), counts),
        "label": _joined([np.arange(1, n + 1, dtype=np.uint32) for n in counts]),
        "global_id": np.concatenate([ids[block] for block in blocks]).astype(np.uint64, copy=False),
    }
    path = directory / f"pool-{first:07d}-{stop:07d}.parquet"
    metadata = {_OFFSETS: offsets.tobytes().hex().encode()}
    return path.name, _write(path, columns, _POOL_ROW_GROUP, metadata)


@dataclass(frozen=True, slots=True)
class _PoolFile:
    metadata: Any
    offsets: npt.NDArray[np.int64]
    groups: list[int]
    """First row of each row group, and the end of the last."""


class PoolTable:
    """Reads the pool table.

    No file stays open between two calls, so that a fork is harmless.

    Parameters
    ----------
    directory
        What `write_pool` wrote to.
    wait_s
        Seconds to look again for a file that isn't there (``visibility_wait``).
    recorded
        What pool's record says of its files, by name; None: it was made before that was recorded.
    """

    def __init__(
        self,
        directory: Path,
        wait_s: float = 120.0,
        recorded: Mapping[str, FileInfo] | None = None,
    ) -> None:
        self.directory = directory
        self._recorded = recorded or {}
        self._wait_s = wait_s
        self._starts: list[int] = []
        self._paths: list[tuple[int, Path]] = []
        self._known: dict[Path, _PoolFile] = {}

    def global_ids(self, block: int) -> npt.NDArray[np.uint64]:
        """Global ids of the labels 1..n of a block, uint64 (n,); 0 where an object is left out.

        Raises
        ------
        NotVisibleError
            No file has this block within ``wait_s``.
        CorruptFileError
            The file is damaged, or the labels in it aren't 1..n.
        """
        first, path = self._find(block)
        known = self._known.get(path)
        if known is None:
            self._check(path)
        with parquet.opened(path, known.metadata if known else None) as table:
            if known is None:
                known = self._known[path] = _inspect(path, table)
            begin, end = (int(row) for row in known.offsets[block - first : block - first + 2])
            if begin == end:
                return np.zeros(0, np.uint64)
            low = bisect_right(known.groups, begin) - 1
            high = bisect_right(known.groups, end - 1)
            rows = parquet.read(table, list(range(low, high)))
        inside = slice(begin - known.groups[low], end - known.groups[low])
        labels = rows["label"][inside]
        if (rows["block"][inside] != block).any() or (
            labels != np.arange(1, len(labels) + 1, dtype=np.uint32)
        ).any():
            raise parquet.corrupt(path, f"the labels of block {block} aren't 1 to {end - begin}")
        found: npt.NDArray[np.uint64] = rows["global_id"][inside]
        return found.copy() if len(found) < len(rows["global_id"]) else found

    def counts(self) -> dict[int, int]:
        """How many labels of each block have a row, from the files' metadata."""
        self._list()
        found: dict[int, int] = {}
        for first, (_, path) in zip(self._starts, self._paths, strict=True):
            self._check(path)
            with parquet.opened(path) as table:
                rows = np.diff(_inspect(path, table).offsets)
            found.update((first + k, int(n)) for k, n in enumerate(rows))
        return found

    def read_all(self) -> None:
        """Read every row of every file: a page that is damaged raises CorruptFileError."""
        self._list()
        for _, path in self._paths:
            self._check(path)
            with parquet.opened(path) as table:
                for group in range(table.metadata.num_row_groups):
                    parquet.read(table, [group])

    def _check(self, path: Path) -> None:
        if path.name in self._recorded:
            require_sound(path, self._recorded[path.name])

    def _find(self, block: int) -> tuple[int, Path]:
        """First block and path of the file with ``block``."""
        deadline = files.clock() + self._wait_s
        for pause in files.pauses():
            at = bisect_right(self._starts, block) - 1
            if at >= 0 and block < self._paths[at][0]:
                return self._starts[at], self._paths[at][1]
            self._list()
            at = bisect_right(self._starts, block) - 1
            if at >= 0 and block < self._paths[at][0]:
                continue
            left = deadline - files.clock()
            if left <= 0:
                break
            files.sleep(min(pause, left))
        raise NotVisibleError(
            f"no file of {self.directory} has block {block}",
            "rerun; if the pool table was deleted, the rerun writes it again",
        )

    def _list(self) -> None:
        matches = (_POOL_NAME.fullmatch(name) for name in files.listdir(self.directory))
        found = sorted((int(m[1]), int(m[2]), self.directory / m[0]) for m in matches if m)
        self._starts = [first for first, _, _ in found]
        self._paths = [(stop, path) for _, stop, path in found]


def require_sound(path: Path, info: FileInfo) -> None:
    """Read a file and compare its checksum.

    Raises
    ------
    CorruptFileError
        Its bytes aren't those that were written.
    OutputError
        The file isn't there, or the file system failed.
    """
    if files.stat_size(path) != info.size or files.crc32_of(path) != info.crc32:
        raise parquet.corrupt(path, "its checksum isn't that of its record")


def _inspect(path: Path, table: Any) -> _PoolFile:
    metadata = table.metadata
    try:
        offsets = np.frombuffer(bytes.fromhex(metadata.metadata[_OFFSETS].decode()), "<i8")
    except (KeyError, TypeError, ValueError) as error:
        raise parquet.corrupt(path, "it has no offsets") from error
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    groups = [0, *(int(row) for row in np.cumsum(counts))]
    if offsets[-1] != groups[-1]:
        raise parquet.corrupt(path, f"{groups[-1]} rows, {offsets[-1]} expected")
    return _PoolFile(metadata, offsets, groups)


def _joined(parts: list[Column]) -> Column:
    return np.concatenate([np.zeros(0, np.uint32), *parts]).astype(np.uint32, copy=False)


def _write(
    path: Path, columns: Mapping[str, Column], rows: int, metadata: dict[bytes, bytes] | None = None
) -> FileInfo:
    # rows come block by block
    blocks = [name for name in columns if name.startswith("block")]
    return files.write_atomic(
        path,
        parquet.encode(parquet.sliced(columns, rows), metadata=metadata, few=blocks),
        is_ours=True,
    )
