"""The pool table: (block, label) -> global id, as Parquet files.

There is one file per range of blocks, ``pool-<first>-<stop>.parquet``, sorted by block and label; a
block's rows are found by the offsets in the file's metadata.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from magneton_tasks.base import files
from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.work import parquet
from magneton_tasks.work.parquet import Column

#: Rows read at a time: a few blocks.
_ROW_GROUP = 1 << 15
_NAME = re.compile(r"pool-(\d+)-(\d+)\.parquet")
_OFFSETS = b"magneton.offsets"


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
        "label": parquet.joined([np.arange(1, n + 1, dtype=np.uint32) for n in counts]),
        "global_id": np.concatenate([ids[block] for block in blocks]).astype(np.uint64, copy=False),
    }
    path = directory / f"pool-{first:07d}-{stop:07d}.parquet"
    metadata = {_OFFSETS: offsets.tobytes().hex().encode()}
    return path.name, parquet.write(path, columns, _ROW_GROUP, metadata)


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
            parquet.require_sound(path, self._recorded[path.name])

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
        matches = (_NAME.fullmatch(name) for name in files.listdir(self.directory))
        found = sorted((int(m[1]), int(m[2]), self.directory / m[0]) for m in matches if m)
        self._starts = [first for first, _, _ in found]
        self._paths = [(stop, path) for _, stop, path in found]


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
