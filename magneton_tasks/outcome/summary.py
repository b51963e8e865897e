"""How far a stage is: the one place that counts blocks and cells, and tells speed, time left and peak.

It is fed with what became of each block or cell, while that happens (`StageSummary.take` gets the events
of workers) or afterwards (`StageSummary.add` gets what records say). Whoever shows a stage asks here:
the live table, status, the block map, the report, and a run in one process; so that all say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from magneton_tasks.base.grid import ranges_len
from magneton_tasks.base.units import human_bytes, human_time
from magneton_tasks.plan.plan import Plan
from magneton_tasks.plan.stage_plan import START_S, StagePlan
from magneton_tasks.plan.stage_table import CHOICE_OF, OF_GROUPS, OWN_STAGES, STAGES
from magneton_tasks.work.events import Event, Failed, Settled
from magneton_tasks.work.record import Record
from magneton_tasks.work.states import total_of

#: What may have become of a block or cell (`work.states.Kind`), and what is a result.
KINDS = ("done", "empty", "running", "failed", "missing", "stale", "corrupt")
RESULTS = ("done", "empty")


@dataclass
class StageSummary:
    """Counts and times of one stage; times in unix seconds.

    Attributes
    ----------
    total, todo
        Blocks or cells of the stage, and those of them that the attempt has to do.
    key_voxels
        Voxels of one of them, on average; 0: a stage that works none (pool, verify).
    expected_s
        What plan expects that the attempt takes for all of them; 0: nothing.
    counts
        How many are done, empty, running, failed, missing, ..., whoever did them.
    own, own_failed
        How many of them this attempt made, and how many failed in it.
    started
        When work on it began, as far as is known before a block is done.
    began, settled_at
        When the first block or cell that this attempt did was begun, and when its newest was done
        or failed.
    cpu_s
        CPU time of what this attempt made; None: nothing is known.
    peak_bytes, peak_key
        The most memory that a result took, and whose that was.
    """

    stage: str
    total: int
    todo: int
    key_voxels: float = 0.0
    expected_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    own: int = 0
    own_failed: int = 0
    started: float | None = None
    began: float | None = None
    settled_at: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    peak_key: int | None = None
    _failed: set[tuple[str, int]] = field(default_factory=set, repr=False)

    @classmethod
    def planned(cls, plan: Plan, stage: str) -> StageSummary:
        """Of a stage of which nothing is known but its plan."""
        if stage == "verify":
            n = max(len(plan.cuts), 1)
            return cls(stage, n, n)
        work, is_asked = plan.work.get(stage), CHOICE_OF[stage] in plan.stages
        if stage in OF_GROUPS:
            return cls.of_groups(plan, stage, work or StagePlan(0))
        total = total_of(plan.geometry, stage) or 1
        if plan.cuts and stage in OWN_STAGES:
            total *= len(plan.cuts)
        todo = (ranges_len(work.todo) if work else total) if is_asked else 0
        voxels = 0.0 if stage == "pool" else plan.geometry.box.voxels / total
        expected_s = work.expected_s(plan.workers) if work else START_S
        return cls(stage, total, todo, voxels, expected_s)

    @classmethod
    def of_groups(cls, plan: Plan, stage: str, work: StagePlan) -> StageSummary:
        """Of a stage whose groups, and what is to do with them, are known since a while only."""
        expected_s = work.cpu_s / plan.workers + -(-work.batches // plan.workers) * START_S
        todo = ranges_len(work.todo)
        return cls(
            stage, work.total, todo, plan.geometry.box.voxels / max(work.total, 1), expected_s
        )

    # ------------------------------------------------------------------ what it is fed with
    def take(self, event: Event) -> None:
        """Take in what a worker of this attempt tells."""
        if isinstance(event, Settled):
            if (event.at, event.key) in self._failed:  # a second try mended it
                self._failed.discard((event.at, event.key))
                self.counts["failed"] -= 1
                self.own_failed -= 1
            self.add(
                event.state,
                event.key,
                is_own=True,
                time=event.time,
                began=event.began,
                seconds=event.seconds,
                cpu_s=event.cpu_s,
                peak_bytes=event.peak_bytes,
            )
        elif isinstance(event, Failed) and event.key is not None:
            if (event.at, event.key) in self._failed:
                return
            self._failed.add((event.at, event.key))
            self.add("failed", event.key, is_own=True, time=event.time, seconds=event.seconds)

    def add(
        self,
        kind: str,
        key: int,
        *,
        is_own: bool,
        time: float | None = None,
        began: float | None = None,
        seconds: float | None = None,
        cpu_s: float | None = None,
        peak_bytes: float | None = None,
    ) -> None:
        """Count a block or cell.

        Parameters
        ----------
        kind
            As of `work.states`; or ``queued``.
        is_own
            Whether this attempt did it.
        time, seconds
            Of its record, in unix seconds, and how long it took; of one that runs, when it was begun.
        began
            When the work on it began; None: as long before ``time`` as it took.
        """
        self.counts[kind] += 1
        is_result = kind in RESULTS
        if is_result and peak_bytes is not None and peak_bytes > (self.peak_bytes or 0):
            self.peak_bytes, self.peak_key = int(peak_bytes), key
        if not is_own or time is None:
            return
        if kind == "running":
            self.started = time if self.started is None else min(self.started, time)
        if is_result or kind == "failed":
            began = time - (seconds or 0.0) if began is None else began
            self.began = began if self.began is None else min(self.began, began)
            self.settled_at = time if self.settled_at is None else max(self.settled_at, time)
            self.own += is_result
            self.own_failed += not is_result
        if is_result and cpu_s is not None:
            self.cpu_s = (self.cpu_s or 0.0) + cpu_s

    def add_many(self, n: int, now: float, began: float) -> None:
        """Count blocks or cells that are done by now, of which no more is known."""
        self.counts["done"] += n
        self.own += n
        self.began = began if self.began is None else self.began
        self.settled_at = now

    def add_record(self, kind: str, key: int, record: Record | None, *, is_own: bool) -> None:
        """Count a block or cell by its record."""
        if record is None:
            self.add(kind, key, is_own=False)
            return
        self.add(
            kind,
            key,
            is_own=is_own,
            time=record.time,
            began=record.began,
            seconds=record.seconds,
            cpu_s=record.cpu_s,
            peak_bytes=record.peak_bytes,
        )

    # ------------------------------------------------------------------ what it tells
    @property
    def done(self) -> int:
        """Blocks or cells that have a result."""
        return self.counts["done"] + self.counts["empty"]

    @property
    def found(self) -> int:
        """Blocks or cells that plan found done: the attempt needn't do them."""
        return self.total - self.todo

    @property
    def before(self) -> int:
        """Those with a result that an earlier attempt made."""
        return self.done - self.own

    @property
    def left(self) -> int:
        """Blocks or cells that the attempt still has to do."""
        return max(self.todo - self.own - self.own_failed, 0)

    @property
    def seconds(self) -> float | None:
        """Wall time from the first that was begun to the newest that was settled."""
        if self.began is None or self.settled_at is None:
            return None
        return self.settled_at - self.began

    @property
    def voxels(self) -> int:
        """Of what this attempt made."""
        return round(self.own * self.key_voxels)

    @property
    def voxels_per_s(self) -> float | None:
        """Speed up to the newest block; None before the first, and of what works no voxels."""
        return self.voxels / self.seconds if self.seconds and self.voxels else None

    def left_s(self, now: float, *, is_alive: bool) -> float | None:
        """Time left by the pace so far, before the first block by plan; None: nothing tells.

        A block that is overdue makes it no less than the time of one block.
        """
        settled = self.own + self.own_failed
        if not is_alive or not self.left:
            return None
        if not settled or self.seconds is None or self.settled_at is None:
            worked_s = 0.0 if self.started is None else max(now - self.started, 0.0)
            return max(self.expected_s - worked_s, 0.0) or None
        pace_s = self.seconds / settled
        return max(self.left * pace_s - max(now - self.settled_at, 0.0), pace_s) or None

    def words(self, now: float, *, is_alive: bool) -> str:
        """Speed, time left and peak for people, as far as they are known."""
        left_s, told = self.left_s(now, is_alive=is_alive), []
        if self.voxels_per_s is not None:
            told.append(f"{self.voxels_per_s / 1e6:.2f} Mvoxel/s")
        if left_s is not None:
            told.append(f"{human_time(left_s)} left")
        if self.peak_bytes is not None:
            told.append(f"peak {human_bytes(self.peak_bytes)}")
        return ", ".join(told)

    def data(self, now: float, *, is_alive: bool) -> dict[str, Any]:
        """Its figures as plain data: what every reader shows, by the same names."""
        return {
            "stage": self.stage,
            "total": self.total,
            **{kind: self.counts[kind] for kind in KINDS},
            "before": self.before,
            "own": self.own,
            "own_failed": self.own_failed,
            "started": self.started,
            "began": self.began,
            "ended": self.settled_at,
            "cpu_s": self.cpu_s,
            "voxels": self.voxels,
            "voxels_per_s": self.voxels_per_s,
            "left_s": self.left_s(now, is_alive=is_alive),
            "peak_bytes": self.peak_bytes,
            "peak_key": self.peak_key,
        }


def planned(plan: Plan) -> Mapping[str, StageSummary]:
    """The stages that a run of this plan goes through, of which nothing is done yet."""
    stages = [
        s
        for s in STAGES
        if s == "verify" or (s not in OF_GROUPS and (work := plan.work.get(s)) and work.todo)
    ]
    return {stage: StageSummary.planned(plan, stage) for stage in stages}
