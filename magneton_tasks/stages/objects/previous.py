"""What a shard held the last time, to take objects over from that didn't change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Self

from magneton_tasks.base import files
from magneton_tasks.formats.objects import Objects
from magneton_tasks.work import shard_objects
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record

#: Bytes that are copied at a time.
_COPY = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """An object as it lies in the file that is there."""

    begin: int
    before: int
    size: int
    figures: tuple[int, int]


@dataclass
class Previous:
    """The objects of a shard's earlier file; use it as a context manager."""

    path: str | None = None
    known: dict[tuple[int, int], Kept] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    _file: BinaryIO | None = None

    @classmethod
    def of(
        cls,
        attempt: Attempt,
        stage: str,
        key: int,
        objects: Objects,
        name: str,
        record: Record | None,
    ) -> Previous:
        """Of a shard whose record is ``record``; empty where its file isn't as that says.

        In a bucket nothing is taken over: reading costs what joining does.
        """
        told = record.info.get("outputs", {}).get(name) if record is not None else None
        if record is None or told is None or not objects.is_local:
            return cls()
        path = objects.path(name)
        if files.stat_size(path) != told[0] or files.crc32_of(path) != told[1]:
            return cls()
        table = shard_objects.read(attempt, stage, key, record)
        if table is None:
            return cls()
        rows = zip(*(column.tolist() for column in table), strict=True)
        known = {(i, d): Kept(b, n, s, (x, y)) for i, d, b, n, s, x, y in rows}
        return cls(str(path), known, sorted(record.info.get("figures", {})))

    def __enter__(self) -> Self:
        if self.path is not None:
            self._file = open(self.path, "rb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def get(self, global_id: int, digest: int) -> Kept | None:
        """An object that was joined of the same pieces."""
        return self.known.get((global_id, digest))

    def before(self, kept: Kept) -> Iterator[bytes]:
        """What stands before its value."""
        assert self._file is not None
        self._file.seek(kept.begin)
        left = kept.before
        while left:
            data = self._file.read(min(left, _COPY))
            if not data:
                raise OSError(f"{self.path} ended while it was copied")
            left -= len(data)
            yield data

    def value(self, kept: Kept) -> bytes:
        """Its value, as stored; after `before` has been taken."""
        assert self._file is not None
        return self._file.read(kept.size)
