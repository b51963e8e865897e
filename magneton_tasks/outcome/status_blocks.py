"""Single blocks and cells as `magneton status` lists them: where they lie, what they do, what failed."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from magneton_tasks.outcome import figures
from magneton_tasks.outcome.run_state import block_failure, place_of, results_of
from magneton_tasks.work.attempt import Attempt
from magneton_tasks.work.paths import AttemptPaths, task_name
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import VolumeStates

Data = dict[str, Any]

#: What a run would still do.
UNDONE = ("missing", "stale", "corrupt")
#: Records of these aren't about one block each.
_NOT_EACH = ("pool", "verify")


@dataclass(frozen=True)
class Blocks:
    """The blocks and cells of an attempt, as plain data; positions and boxes are zyx."""

    attempt: Attempt
    states: VolumeStates

    def place(self, stage: str, key: int) -> Data:
        """Index, position in the grid and core box (voxels) of a block or cell."""
        grid = self.states.grid(stage)
        return {"key": key} if grid is None else {"key": key, **place_of(grid, key)}

    def failure(self, stage: str, record: Record) -> Data:
        """What a failed block's record says, and where its log lies."""
        told = block_failure(self.attempt, stage, record)
        return self.place(stage, record.key) | {k: v for k, v in told.items() if v is not None}

    def working(self, stage: str, record: Record) -> Data:
        """Where a block runs, and since when (unix s)."""
        where = {"host": record.host, "pid": record.pid, "since": record.time}
        return self.place(stage, record.key) | where

    def undone(self, stage: str, damaged: set[int]) -> Iterator[Data]:
        """The blocks or cells of a stage that a run would still do."""
        for each in self.states.judged(stage):
            kind = "corrupt" if each.key in damaged else each.kind
            if kind in UNDONE:
                place = self.place(stage, each.key)
                yield {"stage": stage, **place, "state": kind, "why": each.why}

    def slowest(self, stages: Iterable[str], n: int) -> list[Data]:
        """The ``n`` blocks and cells that took longest."""
        known: list[tuple[float, int, str, int, Record]] = []
        for order, stage in enumerate(stages):
            if stage in _NOT_EACH:
                continue
            for each in self.states.judged(stage):
                record = each.parsed().record if each.kind == "done" else None
                if record is not None and record.seconds is not None:
                    item = (record.seconds, -order, stage, -each.key, record)
                    if len(known) < n:
                        heapq.heappush(known, item)
                    else:
                        heapq.heappushpop(known, item)
        return [
            {
                "stage": stage,
                **self.place(stage, -key),
                **figures.told(record),
                "host": record.host,
            }
            for _, _, stage, key, record in sorted(known, reverse=True)
        ]


def failed_outside(paths: AttemptPaths, stage: str) -> list[Data]:
    """What failed outside any block, from the results of an attempt's tasks."""
    found = []
    for result in results_of(paths).get(stage, ()):
        part = result.get("part")
        name = task_name(stage, result.get("batch"), part[0] if part else None)
        log = str(paths.logs / f"{name}.log")
        failures = result.get("failures", ())
        found += [{"log": log} | f for f in failures if f.get("key") is None]
    return found
