"""Labels of segmented blocks, as count, pool and apply read them: checked, and invalidated when damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from numpy.typing import NDArray

from magneton_tasks.base.files import FileInfo
from magneton_tasks.base.geometry import Box, negative
from magneton_tasks.errors import NotVisibleError
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.stores import label_store


class Blocks:
    """Reads labels and sizes of the blocks given, all of which must have a valid record.

    A file that is damaged, or doesn't show up, makes its block's record invalid: the rerun
    segments that block again.
    """

    def __init__(self, attempt: Attempt, keys: set[int] | range) -> None:
        self.attempt = attempt
        self.grid = attempt.plan.geometry.grid
        self.records = attempt.require("segment", keys)
        self.store = label_store(attempt)
        self._wait_s = attempt.wait_s

    def digest(self, key: int) -> str:
        return self.records[key].output or ""

    def n_labels(self, key: int) -> int:
        return self.records[key].info["n"]

    def read(self, key: int, box: Box) -> NDArray[np.uint32]:
        """uint32 labels of ``box`` (voxels of the volume, inside the block's read box)."""
        if self.n_labels(key) == 0:
            return np.zeros(box.shape, np.uint32)
        inside = box.translate(negative(self.grid.read(key).begin))
        with self.invalidating(key):
            return self.store.read(self.grid.index3(key), inside, self.file(key, "labels"))

    def pieces(self, key: int, box: Box) -> Iterator[tuple[Box, NDArray[np.uint32]]]:
        """As `read`, but piece by piece: where each lies (voxels of the volume), and its labels, read-only."""
        if self.n_labels(key) == 0:
            yield box, np.broadcast_to(np.uint32(0), box.shape)
            return
        origin = self.grid.read(key).begin
        inside = box.translate(negative(origin))
        with self.invalidating(key):
            file = self.file(key, "labels")
            for part, labels in self.store.pieces(self.grid.index3(key), inside, file):
                yield part.translate(origin), labels

    def sizes(self, key: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Voxels of each label in the core and in the read box, uint32 (n,) each."""
        if self.n_labels(key) == 0:
            empty = np.zeros(0, np.uint32)
            return empty, empty
        with self.invalidating(key):
            return self.store.read_sizes(self.grid.index3(key), self.file(key, "sizes"))

    def file(self, key: int, name: str) -> FileInfo:
        """What the block's record says of one of its files."""
        record = self.records[key]
        if name not in record.files and record.is_cleaned:
            raise NotVisibleError(f"its {name} were removed by `magneton clean`")
        return record.files[name]

    @contextmanager
    def invalidating(self, key: int) -> Iterator[None]:
        """A file that is damaged, or doesn't show up, makes the block's record invalid."""
        again = "the block is segmented again"
        with self.attempt.invalidating("segment", [key], again, f"block {key}"):
            try:
                yield
            except NotVisibleError:  # the others' files have had as long by now
                self._wait_s = 0
                self.store = label_store(self.attempt, wait_s=0)
                raise


def pool_invalidating(attempt: Attempt) -> AbstractContextManager[None]:
    """A pool table that is damaged, or doesn't show up, makes pool's record invalid."""
    return attempt.invalidating("pool", [0], "the pool is made again")
