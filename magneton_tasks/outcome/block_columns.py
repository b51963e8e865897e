"""What the records of one stage say of each block or cell, in columns: the ground of a block map.

A column has one entry a block, in raster order, and takes few bytes: a map of 10^6 blocks fits into
Airflow's web server. `StageColumns.update` parses the records of those blocks alone whose state has
changed since the last look.
"""

from __future__ import annotations

import heapq
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import prod

from magneton_tasks.base.geometry import Vec3
from magneton_tasks.base.grid import Grid, Ranges
from magneton_tasks.outcome.report_blocks import LETTERS, Names
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_names import CHOICE_OF
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import Look

#: A state's letter; beside those of a report: planned by a run that goes on, and not begun.
QUEUED = "q"
#: Of several blocks in one square the one furthest to the right counts.
WORST_LAST = "edmqrscf"
#: How many failed blocks are told of one by one.
MOST_FAILED = 200
#: What is counted, by its letter; what is queued is missing still.
_KINDS = {ord(letter): kind for kind, letter in LETTERS.items()} | {ord(QUEUED): "queued"}
#: Number of the attempt itself among the runs.
_OWN_RUN = 0
_RANK = {letter: rank for rank, letter in enumerate(WORST_LAST)}
NAN = math.nan


class StageColumns:
    """The blocks or cells of one stage; ``grid`` None: a stage of one piece (pool).

    Attributes
    ----------
    states
        A letter a block.
    seconds, cpu_s, peak_bytes, labels
        NaN where nothing is known.
    times
        Unix seconds of the record that is shown; NaN without one.
    hosts, runs
        Numbers of names, -1 for none.
    failed
        Records of blocks that failed, as many as are shown.
    """

    def __init__(
        self, attempt: Attempt, stage: str, total: int, grid: Grid | None, hosts: Names, runs: Names
    ) -> None:
        self.stage, self.total, self.grid = stage, total, grid
        self._attempt, self._host_names, self._run_names = attempt, hosts, runs
        self.states = bytearray(b"m") * total
        nothing = array("d", [NAN]) * total
        self.seconds, self.cpu_s, self.peak_bytes = nothing[:], nothing[:], nothing[:]
        self.labels, self.times = nothing[:], nothing[:]
        self.hosts, self.runs = array("i", [-1]) * total, array("i", [-1]) * total
        self.failed: dict[int, Record] = {}
        work = attempt.plan.work.get(stage)
        asked = CHOICE_OF[stage] in attempt.plan.stages
        self._todo = _Members((work.todo if work else [(0, total)]) if asked else [])

    def update(self, looks: Iterable[Look], alive: bool) -> bool:
        """Take over what has changed; whether anything has."""
        changed = False
        states, times = self.states, self.times
        queued, letters = ord(QUEUED), {kind: ord(letter) for kind, letter in LETTERS.items()}
        for look in looks:
            key, letter = look.key, letters[look.kind]
            if alive and look.kind in ("missing", "stale") and key in self._todo:
                letter = queued
            time_s = NAN if look.state is None else look.state.time
            if letter == states[key] and (time_s == times[key] or look.state is None):
                continue
            states[key], times[key] = letter, time_s
            record = look.parsed().record
            self._take(key, record, look.kind in ("done", "empty"))
            self.failed.pop(key, None)
            if record is not None and look.kind == "failed" and len(self.failed) < MOST_FAILED:
                self.failed[key] = record
            changed = True
        return changed

    def _take(self, key: int, record: Record | None, is_result: bool) -> None:
        self.seconds[key] = _number(record.seconds if record else None)
        self.cpu_s[key] = _number(record.cpu_s if record else None)
        self.peak_bytes[key] = _number(record.peak_bytes if record else None)
        self.labels[key] = _number(record.info.get("n") if record and is_result else None)
        self.hosts[key] = self._host_names(record.host) if record else -1
        self.runs[key] = self._run_names(f"{record.run}/{record.attempt}") if record else -1

    def summary(self) -> StageSummary:
        """How far the stage is."""
        found, kinds = StageSummary.planned(self._attempt.plan, self.stage), dict(_KINDS)
        columns = (self.states, self.times, self.seconds, self.cpu_s, self.peak_bytes, self.runs)
        for key, (letter, *numbers, run) in enumerate(zip(*columns, strict=True)):
            time, seconds, cpu_s, peak = (None if v != v else v for v in numbers)
            found.add(
                kinds[letter],
                key,
                is_own=run == _OWN_RUN,
                time=time,
                seconds=seconds,
                cpu_s=cpu_s,
                peak_bytes=peak,
            )
        return found

    def count(self, letter: str) -> int:
        return self.states.count(letter.encode())

    def keys(self, letter: str, most: int) -> list[int]:
        """The first blocks in a state."""
        found: list[int] = []
        at = self.states.find(letter.encode())
        while at >= 0 and len(found) < most:
            found.append(at)
            at = self.states.find(letter.encode(), at + 1)
        return found

    def largest(self, column: Sequence[float], n: int) -> list[int]:
        """The blocks with the highest values, highest first."""
        known = ((v, -k) for k, v in enumerate(column) if v == v)
        return [-k for _, k in heapq.nlargest(n, known)]

    def layers(self) -> list[dict[str, int]]:
        """How many blocks of each layer are in which state, by letter."""
        if self.grid is None:
            return []
        each = prod(self.grid.shape[1:])
        slices = (self.states[z * each : (z + 1) * each] for z in range(self.grid.shape[0]))
        return [{a: n for a in WORST_LAST if (n := s.count(a.encode()))} for s in slices]


class _Members:
    """Whether a key lies in one of some ascending half-open ranges."""

    def __init__(self, ranges: Ranges) -> None:
        self._begins, self._ends = [b for b, _ in ranges], [e for _, e in ranges]

    def __contains__(self, key: int) -> bool:
        at = bisect_right(self._begins, key) - 1
        return at >= 0 and key < self._ends[at]


def squares(shape: Vec3, z: int, factor: tuple[int, int]) -> list[list[int]]:
    """The blocks of each square of a layer, where ``factor`` (y, x) of them make one; raster order."""
    _, ny, nx = shape
    first, (fy, fx) = z * ny * nx, factor
    return [
        [first + i * nx + j for i in range(y, min(y + fy, ny)) for j in range(x, min(x + fx, nx))]
        for y in range(0, ny, fy)
        for x in range(0, nx, fx)
    ]


def worst(letters: Iterable[int]) -> str:
    """The state that counts of several blocks."""
    return max(map(chr, letters), key=_RANK.__getitem__)


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)
