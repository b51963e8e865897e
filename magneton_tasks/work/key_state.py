"""What is known of one block or cell: its newest event, and the newest that settles its result."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from magneton_tasks.work.record import STATES, Record, State

RANK: dict[str, int] = {state: rank for rank, state in enumerate(STATES)}
#: From this rank on an event settles whether there's a result; this one, that there is none.
SETTLED = RANK["empty"]
INVALID = RANK["invalid"]

#: The digests of a line, which stand side by side, before whatever ``info`` holds.
_DIGESTS = re.compile(r'"input":"([^"\\]*)"(?:,"output":"([^"\\]*)")?')
#: The figures of a line, before whatever ``info`` holds.
_FIGURES = re.compile(r'"(began|seconds|cpu_s|peak_bytes)":([0-9.e+-]+)')
#: The pool's digest, in ``info``: a quote inside a text has a backslash before it.
_POOL = re.compile(r'"pool":"([^"\\]*)"')


class Figures(NamedTuple):
    """When the work on a key began (unix s), its wall and CPU time (s) and peak memory, as of `Record`."""

    began: float | None = None
    seconds: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None


class KeyState:
    """What the manifest says about one key.

    It keeps lines and not records, and no objects beside them: a million keys take 0.6 GB.
    """

    __slots__ = ("_last", "_last_rank", "_settled", "_settled_rank", "_settled_s", "time")

    def __init__(self, line: str, time_s: float, rank: int) -> None:
        #: time of the newest event, in unix seconds
        self.time = time_s
        self._last, self._last_rank = line, rank
        self._settled: str | None = None
        if rank >= SETTLED:
            self._settled, self._settled_s, self._settled_rank = line, time_s, rank

    def add(self, line: str, time_s: float, rank: int) -> None:
        if (time_s, rank) > (self.time, self._last_rank):
            self._last, self.time, self._last_rank = line, time_s, rank
        if rank >= SETTLED and (
            self._settled is None or (time_s, rank) > (self._settled_s, self._settled_rank)
        ):
            self._settled, self._settled_s, self._settled_rank = line, time_s, rank

    @property
    def is_valid(self) -> bool:
        """Whether there is a result: done or empty, and not made invalid since."""
        return self._settled is not None and self._settled_rank != INVALID

    @property
    def is_interrupted(self) -> bool:
        """Whether there is a result, and a later try hasn't come to its end."""
        return self.is_valid and self._last_rank < SETTLED

    @property
    def valid(self) -> Record | None:
        """The newest *done* or *empty*; None where there's none, or an *invalid* is newer."""
        line = self.valid_line
        return Record.from_line(line) if line is not None else None

    @property
    def valid_line(self) -> str | None:
        """The line of `valid`; costs no parsing."""
        return self._settled if self.is_valid else None

    @property
    def given_up(self) -> Record | None:
        """The newest *invalid*, where it hides the result; None elsewhere."""
        line = self._settled
        return Record.from_line(line) if line is not None and not self.is_valid else None

    @property
    def digests(self) -> tuple[str | None, str | None]:
        """Input and output of `valid`; a twentieth of the time that parsing it takes."""
        line = self._settled
        if line is None or not self.is_valid:
            return None, None
        found = _DIGESTS.search(line)
        return (found[1], found[2]) if found else (None, None)

    @property
    def figures(self) -> Figures:
        """Of `valid`, as cheap as `digests`."""
        line = self._settled
        if line is None or not self.is_valid:
            return Figures()
        end = line.find('"info":')
        told = dict(_FIGURES.findall(line, 0, end if end >= 0 else len(line)))
        began, seconds, cpu_s, peak = (told.get(name) for name in Figures._fields)
        return Figures(
            None if began is None else float(began),
            None if seconds is None else float(seconds),
            None if cpu_s is None else float(cpu_s),
            None if peak is None else int(peak),
        )

    def holds(self, text: str) -> bool:
        """Whether the line of `valid` holds a piece of compact JSON; costs no parsing."""
        return self.is_valid and self._settled is not None and text in self._settled

    @property
    def pool(self) -> str | None:
        """`Record.pool` of `valid`; costs no parsing."""
        line = self._settled
        found = _POOL.search(line) if line is not None and self.is_valid else None
        return found[1] if found else None

    @property
    def is_cleaned(self) -> bool:
        """`Record.is_cleaned` of `valid`; costs no parsing."""
        line = self._settled
        return line is not None and self.is_valid and '"cleaned":true' in line

    @property
    def last(self) -> Record:
        """The newest event of any kind."""
        return Record.from_line(self._last)

    @property
    def last_state(self) -> State:
        """The state of `last`; costs no parsing."""
        return STATES[self._last_rank]

    @property
    def state(self) -> State:
        """The state of `valid`, else that of `last`; costs no parsing."""
        return STATES[self._settled_rank if self.is_valid else self._last_rank]

    def lines(self) -> Iterator[str]:
        """The lines that a compaction has to keep."""
        if self._settled is not None and self._settled is not self._last:
            yield self._settled
        yield self._last
