"""The records of many blocks, groups or cells in little memory: lines as they lie on disk, packed.

Parsed, a record of segment or faces takes some 2.6 kB, as a line .5 kB, packed beside its neighbours some
.1 kB. Whoever works a few needs the counts and digests of all, so a task of 100,000 blocks holds 10 MB of
them here. Standard library only.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from magneton_tasks.work.key_state import KeyState
from magneton_tasks.work.record import Record

#: Lines that are packed together. To pack one takes some 3 us; to unpack a page 30, to parse a record 10.
_PAGE = 32
#: Pages that are held unpacked, and records that are held parsed: those used last.
_PAGES, _PARSED = 32, 128


class PackedRecords(Mapping[int, Record]):
    """Records by key, each parsed when it is asked for.

    Parameters
    ----------
    lines
        Keys and lines, by ascending key.
    """

    def __init__(self, lines: Iterable[tuple[int, str]]) -> None:
        self._keys = array("q")
        self._pages: list[bytes] = []
        self._unpacked: dict[int, list[str]] = {}
        self._parsed: dict[int, Record] = {}
        page: list[str] = []
        for key, line in lines:
            self._keys.append(key)
            page.append(line)
            if len(page) == _PAGE:
                self._add(page)
        if page:
            self._add(page)

    @classmethod
    def of(cls, states: dict[int, KeyState]) -> PackedRecords:
        """The valid ones of what a manifest knows, which this takes over: nothing is held twice."""
        keys = array("q", sorted(states))
        taken = ((key, states.pop(key).valid_line) for key in keys)
        return cls((key, line) for key, line in taken if line is not None)

    def _add(self, page: list[str]) -> None:
        self._pages.append(zlib.compress("\n".join(page).encode(), 1))
        page.clear()

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
        page, row = divmod(at, _PAGE)
        lines = self._unpacked.pop(page, None)
        if lines is None:
            lines = zlib.decompress(self._pages[page]).decode().split("\n")
        self._unpacked[page] = lines
        if len(self._unpacked) > _PAGES:
            del self._unpacked[next(iter(self._unpacked))]
        return Record.from_line(lines[row])

    def _at(self, key: int) -> int | None:
        at = bisect_left(self._keys, key)
        return at if at < len(self._keys) and self._keys[at] == key else None
