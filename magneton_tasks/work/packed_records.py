"""The records of many blocks, groups or cells in little memory: lines as they lie on disk, packed.

Parsed, a record of segment or faces takes some 2.6 kB, as a line .5 kB, packed beside its neighbours some
.1 kB. Whoever works a few needs counts and digests of many, so a task holds 10 MB of the records of
100,000 blocks, and a few parsed. Standard library only.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from magneton_tasks.work.key_state import INVALID, SETTLED, KeyState
from magneton_tasks.work.manifest import ManifestReader
from magneton_tasks.work.record import Record

#: Lines that are packed together. To pack one takes some 3 us; to unpack a page 30, to parse a record 10.
_PAGE = 32
#: Pages that are held unpacked, and records that are held parsed: those used last.
_PAGES, _PARSED = 16, 64


class PackedLines:
    """Lines by number, from 0 in the order in which they came."""

    def __init__(self) -> None:
        self._pages: list[bytes] = []
        self._last: list[str] = []
        self._unpacked: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._pages) * _PAGE + len(self._last)

    def append(self, line: str) -> None:
        """Add a line, which holds no line break."""
        self._last.append(line)
        if len(self._last) == _PAGE:
            self._pages.append(zlib.compress("\n".join(self._last).encode(), 1))
            self._last.clear()

    def __getitem__(self, number: int) -> str:
        page, row = divmod(number, _PAGE)
        return (self._last if page == len(self._pages) else self._page(page))[row]

    def _page(self, page: int) -> list[str]:
        lines = self._unpacked.pop(page, None)
        if lines is None:
            lines = zlib.decompress(self._pages[page]).decode().split("\n")
        self._unpacked[page] = lines
        if len(self._unpacked) > _PAGES:
            del self._unpacked[next(iter(self._unpacked))]
        return lines


class PackedRecords(Mapping[int, Record]):
    """Records by ascending key, each parsed when it is asked for.

    Parameters
    ----------
    rows
        Of each key, ascending: the number of its line.
    """

    def __init__(self, keys: Sequence[int], rows: Sequence[int], lines: PackedLines) -> None:
        self._keys, self._rows, self._lines = array("q", keys), array("q", rows), lines
        self._parsed: dict[int, Record] = {}

    @classmethod
    def of(cls, states: Mapping[int, KeyState]) -> PackedRecords:
        """The valid ones of what a manifest knows."""
        lines = PackedLines()
        keys = array("q")
        for key in sorted(states):
            line = states[key].valid_line
            if line is not None:
                keys.append(key)
                lines.append(line)
        return cls(keys, range(len(keys)), lines)

    def __getitem__(self, key: int) -> Record:
        found = self._parsed.pop(key, None) or self._parse(key)
        self._parsed[key] = found
        if len(self._parsed) > _PARSED:
            del self._parsed[next(iter(self._parsed))]
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and self._at(key) is not None

    def __iter__(self) -> Iterator[int]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def _parse(self, key: int) -> Record:
        at = self._at(key)
        if at is None:
            raise KeyError(key)
        return Record.from_line(self._lines[self._rows[at]])

    def _at(self, key: int) -> int | None:
        at = bisect_left(self._keys, key)
        return at if at < len(self._keys) and self._keys[at] == key else None


class PackedReader(ManifestReader):
    """Reads the valid records of a manifest, and packs them as it goes.

    Parameters
    ----------
    own
        (run, attempt): takes only what this one made; None: whatever there is.
    """

    def __init__(
        self, directory: Path, keys: Collection[int], own: tuple[str, int | None] | None = None
    ) -> None:
        super().__init__(directory, keys)
        self._own = own
        self._lines = PackedLines()
        #: of each key its newest event that settles it: number of the line
        self._rows: dict[int, int] = {}
        #: by number of the line: when it was, which state, and whether it counts
        self._times, self._ranks, self._counts = array("d"), array("b"), array("b")

    def _add(
        self, key: int, line: str, time_s: float, rank: int, values: Mapping[str, Any]
    ) -> None:
        if rank < SETTLED:
            return
        known = self._rows.get(key)
        if known is not None and (time_s, rank) <= (self._times[known], self._ranks[known]):
            return
        made_by = values.get("run", ""), values.get("attempt")
        self._rows[key] = len(self._lines)
        self._lines.append(line)
        self._times.append(time_s)
        self._ranks.append(rank)
        self._counts.append(rank != INVALID and self._own in (None, made_by))

    def missing(self, keys: Collection[int]) -> set[int]:
        """Those of some keys that have no record that counts."""
        rows, counts = self._rows, self._counts
        return {key for key in keys if key not in rows or not counts[rows[key]]}

    def records(self) -> PackedRecords:
        """All that count, as far as they have been read."""
        keys = array("q", sorted(k for k, row in self._rows.items() if self._counts[row]))
        return PackedRecords(keys, array("q", map(self._rows.__getitem__, keys)), self._lines)
