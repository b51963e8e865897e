"""How many bytes the results of a stage take: files of one block, and files that many blocks share."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from magneton_tasks.outcome.names import Names
from magneton_tasks.work.record import Record


class StoredBytes:
    """Bytes of the files of a stage's results, as records tell; a file that many name counts once.

    It takes 8 bytes per block, and 4 more per kind of shared file.
    """

    def __init__(self, blocks: int) -> None:
        self._own = array("q", [0]) * blocks
        #: by kind, which file each block has rows in; -1: in none
        self._shared: dict[str, array[int]] = {}
        self._names = Names()
        self._sizes: list[int] = []

    def take(self, key: int, result: Record | None) -> None:
        """Take over what a block's result is stored in; None: it has none now."""
        for numbers in self._shared.values():
            numbers[key] = -1
        self._own[key] = 0 if result is None else _own_bytes(result)
        for kind, name, size in _shared_files(result) if result is not None else ():
            if kind not in self._shared:
                self._shared[kind] = array("i", [-1]) * len(self._own)
            self._shared[kind][key] = self._names(name)
            if len(self._names) > len(self._sizes):
                self._sizes.append(size)

    def total(self) -> int:
        """Of all blocks together."""
        named = {number for numbers in self._shared.values() for number in set(numbers)}
        return sum(self._own) + sum(self._sizes[number] for number in named - {-1})


def _own_bytes(record: Record) -> int:
    """Of the files that hold nothing of another block: chunks, and what isn't shared."""
    shared = {kind for kind, *_ in _shared_files(record)}
    own = sum(file.size for kind, file in record.files.items() if kind not in shared)
    return own + sum(map(sum, record.info.get("chunks", ())))


def _shared_files(record: Record) -> Iterator[tuple[str, str, int]]:
    """Kind, name and bytes of the files that other blocks may have rows in, too."""
    end = record.info.get("file")
    named = record.info.get("slices", {})
    for kind, file in record.files.items():
        name = f"{kind}-{end}" if end is not None else named.get(kind)
        if name is not None:
            yield kind, name, file.size
