"""What the records of one stage say of each block or cell, in columns: the ground of page and report.

A column has one entry per block, in raster order, and takes few bytes: a map of 10^6 blocks fits into
Airflow's web server. `StageColumns.update` parses the records of those blocks alone whose state has
changed since the last look. Standard library and light rooms only.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from magneton_tasks.base.grid import Grid, Ranges
from magneton_tasks.outcome.figures import FIGURES, NAN
from magneton_tasks.outcome.names import Names
from magneton_tasks.outcome.run_state import place_of
from magneton_tasks.outcome.stage_names import name_of
from magneton_tasks.outcome.stored_bytes import StoredBytes
from magneton_tasks.outcome.summary import StageSummary
from magneton_tasks.plan.stage_plan import StagePlan
from magneton_tasks.plan.stage_table import CHOICE_OF, STAGES, facts
from magneton_tasks.work import group_work
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import Judged, VolumeStates

#: A state's letter.
LETTERS = {
    "empty": "e", "done": "d", "missing": "m", "running": "r", "stale": "s", "corrupt": "c", "failed": "f"
}  # fmt: skip
#: The letter of a block that a run which goes on has planned and not begun.
QUEUED = "q"
#: Of several blocks in one square the one furthest to the right counts.
WORST_LAST = "edmqrscf"
#: How many failed blocks of a stage are told of one by one, and how many of the largest.
MOST_FAILED, MOST_LARGEST = 1000, 10
#: What is counted, by its letter; what is queued is missing still.
_KINDS = {ord(letter): kind for kind, letter in LETTERS.items()} | {ord(QUEUED): "queued"}
#: Number of the attempt itself among the runs.
_OWN_RUN = 0
_RANK = {letter: rank for rank, letter in enumerate(WORST_LAST)}


class VolumeColumns:
    """The columns of all stages of an attempt's volume but verify, none at first: `take_in` makes them.

    Attributes
    ----------
    stages
        By `stage_names.name_of`.
    hosts, runs
        The names that the columns number; run 0 is this attempt.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.hosts, self.runs = Names(), Names(f"{attempt.name}/{attempt.plan.attempt}")
        self._attempt = attempt
        self.stages: dict[str, StageColumns] = {}

    def states(self, *, alive: bool) -> list[VolumeStates]:
        """What became of the volume at each threshold, as `take_in` takes it."""
        return [VolumeStates(each, alive=alive) for each in self._attempt.each()]

    def take_in(self, each: Sequence[VolumeStates]) -> None:
        """Have columns for all stages whose blocks, groups or cells are known by now.

        Parameters
        ----------
        each
            The states at each threshold; what they have in common is taken from the first.
        """
        found: dict[str, StageColumns] = {}
        for states in each:
            for stage in STAGES[:-1]:
                name = name_of(states.attempt, stage)
                if name in found:
                    continue
                total, grid = states.total(stage), states.grid(stage)
                known = self.stages.get(name)
                if known is not None and (known.total, known.grid) == (total, grid):
                    found[name] = known
                elif total:
                    found[name] = StageColumns(
                        states.attempt, stage, total, grid, self.hosts, self.runs
                    )
        self.stages = found

    def states_of(self, name: str, each: Sequence[VolumeStates]) -> VolumeStates:
        """Of ``each`` the states at the threshold of a column."""
        of = self.stages[name].attempt.paths.cut
        return next(states for states in each if states.attempt.paths.cut == of)


class StageColumns:
    """The blocks or cells of one stage; ``grid`` None: a stage of one piece (pool).

    Attributes
    ----------
    attempt, name
        At the threshold that it is of, and what the stage is called (`stage_names`).
    states
        A letter per block.
    figures
        A column of each of `FIGURES`; NaN where nothing is known.
    times, began
        Unix seconds of the record that is shown, and when the work on it began; NaN without one.
    hosts, runs
        Numbers of names, -1 for none; run 0 is this attempt.
    stored
        Bytes of the results' files.
    opened
        What a result leaves open (method exact): rows of each table, and the labels it has joined.
    failed
        Records of blocks that failed, as many as are shown.
    """

    def __init__(
        self, attempt: Attempt, stage: str, total: int, grid: Grid | None, hosts: Names, runs: Names
    ) -> None:
        self.stage, self.total, self.grid = stage, total, grid
        self.name = name_of(attempt, stage)
        self.attempt, self._host_names, self._run_names = attempt, hosts, runs
        self.states = bytearray(b"m") * total
        self._work = work = group_work.work_of(attempt.paths, attempt.plan, stage)
        nothing = array("d", [NAN]) * total
        self.figures = {figure.name: nothing[:] for figure in FIGURES}
        self.times, self.began = nothing[:], nothing[:]
        self.hosts, self.runs = array("i", [-1]) * total, array("i", [-1]) * total
        self.stored = StoredBytes(total)
        self.opened: dict[str, array[int]] = {}
        self.failed: dict[int, Record] = {}
        self._summary: StageSummary | None = None
        asked = CHOICE_OF[stage] in attempt.plan.stages
        self._todo = _Members((work.todo if work else [(0, total)]) if asked else [])

    def update(self, judged: Iterable[Judged], alive: bool) -> bool:
        """Take over what has changed; whether anything has."""
        changed = False
        states, times = self.states, self.times
        queued, letters = ord(QUEUED), {kind: ord(letter) for kind, letter in LETTERS.items()}
        for each in judged:
            key, letter = each.key, letters[each.kind]
            if alive and each.kind in ("missing", "stale") and key in self._todo:
                letter = queued
            time_s = NAN if each.state is None else each.state.time
            if letter == states[key] and (time_s == times[key] or each.state is None):
                continue
            states[key], times[key] = letter, time_s
            record = each.parsed().record
            self._take(key, record, each.kind in ("done", "empty"))
            self.failed.pop(key, None)
            if record is not None and each.kind == "failed" and len(self.failed) < MOST_FAILED:
                self.failed[key] = record
            changed = True
        if changed:
            self._summary = None
        return changed

    def _take(self, key: int, record: Record | None, is_result: bool) -> None:
        for figure in FIGURES:
            self.figures[figure.name][key] = figure.column_value(record, is_result=is_result)
        self.began[key] = NAN if record is None or record.began is None else record.began
        self.hosts[key] = self._host_names(record.host) if record else -1
        self.runs[key] = self._run_names(f"{record.run}/{record.attempt}") if record else -1
        self._take_result(key, record if is_result else None)

    def _take_result(self, key: int, result: Record | None) -> None:
        self.stored.take(key, result)
        for rows in self.opened.values():
            rows[key] = 0
        if result is None or "rows" not in result.info:
            return
        for name, n in result.info["rows"].items():
            if name not in self.opened:
                self.opened[name] = array("q", [0]) * self.total
            self.opened[name][key] = n

    def summary(self) -> StageSummary:
        """How far the stage is; counted once after each change."""
        if self._summary is None:
            self._summary = self._summarised()
        return self._summary

    def _planned(self) -> StageSummary:
        plan = self.attempt.plan
        if facts(self.stage).grid != "groups":
            return StageSummary.planned(plan, self.stage)
        work = self._work or StagePlan(0)
        return StageSummary.of_groups(plan, self.stage, replace(work, total=self.total))

    def _summarised(self) -> StageSummary:
        found, kinds = self._planned(), dict(_KINDS)
        summed = (self.figures[name] for name in ("seconds", "cpu_s", "peak_bytes"))
        columns = (self.states, self.times, self.began, *summed, self.runs)
        for key, (letter, *numbers, run) in enumerate(zip(*columns, strict=True)):
            time, began, seconds, cpu_s, peak = (None if v != v else v for v in numbers)
            found.add(
                kinds[letter],
                key,
                is_own=run == _OWN_RUN,
                time=time,
                began=began,
                seconds=seconds,
                cpu_s=cpu_s,
                peak_bytes=peak,
            )
        return found

    def row(self, now: float, *, is_alive: bool) -> dict[str, Any]:
        """What page and report both say of the stage, beside what each adds."""
        plan, memory = self.attempt.plan, self.attempt.plan.memory.get(self.stage)
        return {
            **self.summary().data(now, is_alive=is_alive),
            "stage": self.name,
            "asked": CHOICE_OF[self.stage] in plan.stages,
            "expected_bytes": memory.expected if memory else None,
            "bound_bytes": memory.bound if memory else None,
            "stored_bytes": None if self.stage == "pool" else self.stored.total(),
            "open": self.open_rows(),
        }

    def count(self, letter: str) -> int:
        return self.states.count(letter.encode())

    def open_rows(self) -> dict[str, int] | None:
        """What all results together leave open; None: nothing is recorded of that.

        ``face_voxels`` are those of the faces with a neighbour behind them, counted on both sides.
        """
        if "regions" not in self.opened or self.grid is None:
            return None
        shape, sides = self.grid.shape, self.grid.box.shape
        faces = sum(2 * (n - 1) * prod(sides) // side for n, side in zip(shape, sides, strict=True))
        return {"face_voxels": faces, **{name: sum(rows) for name, rows in self.opened.items()}}

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

    def slowest(self) -> list[dict[str, Any]]:
        """The blocks that took longest, slowest first, with what their records say."""
        return [self._told(k) for k in self.largest(self.figures["seconds"], MOST_LARGEST)]

    def _told(self, key: int) -> dict[str, Any]:
        hosts = list(self._host_names)
        return {
            "stage": self.name,
            "key": key,
            **place_of(self.grid, key),
            **{f.name: f.exact(self.figures[f.name][key]) for f in FIGURES},
            "host": hosts[self.hosts[key]] if self.hosts[key] >= 0 else None,
        }

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


def worst(letters: Iterable[int]) -> str:
    """The state that counts of several blocks."""
    return max(map(chr, letters), key=_RANK.__getitem__)
