"""What `magneton status` tells of a volume, from the records of its newest attempt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magneton_tasks.base import lease
from magneton_tasks.outcome import current, threshold_words
from magneton_tasks.outcome.status_stages import AtThreshold, StageStatus
from magneton_tasks.plan.stage_table import OWN_STAGES, STAGES
from magneton_tasks.runners.arrays.job_files import jobs_of_tasks
from magneton_tasks.runners.arrays.states import expression
from magneton_tasks.work.attempts import latest_attempt, open_latest

Data = dict[str, Any]


class Status:
    """The status of a volume; `refresh` looks again, and reads only what was added since.

    Attributes
    ----------
    attempt
        The newest one, as it was frozen.
    each
        What became of it at each threshold; all have the stages before pool in common.
    stages
        Of all thresholds.
    """

    def __init__(self, config: Path, partition: str | None, *, check: bool = False) -> None:
        self._config, self._partition, self.check = config, partition, check
        self.attempt = open_latest(config, partition)
        self._open()

    def _open(self) -> None:
        self.alive = current.is_alive(self.attempt)
        self.each = [
            AtThreshold(
                attempt,
                current.as_planned_now(attempt, self._config),
                alive=self.alive,
                check=self.check,
            )
            for attempt in self.attempt.each()
        ]
        self._collect()

    @property
    def first(self) -> AtThreshold:
        """The only threshold, or the first of several: it tells of what they have in common."""
        return self.each[0]

    def refresh(self) -> None:
        """Look again; another attempt may have begun, or this one ended."""
        newest = latest_attempt(self._config, self._partition).root
        is_settled = self.attempt.is_open and self.attempt.paths.settled.is_file()
        if newest != self.attempt.paths.root or is_settled:
            self.attempt = open_latest(self._config, self._partition)
        elif current.is_alive(self.attempt) == self.alive:
            for one in self.each:
                one.states.refresh(self.alive)
            self._collect()
            return
        self._open()

    def _collect(self) -> None:
        self.stages: list[StageStatus] = []
        self._of: list[AtThreshold] = []
        for one in self.each:
            for stage in STAGES:
                is_own = stage in OWN_STAGES
                if (is_own or one is self.first) and (stage == "verify" or one.states.total(stage)):
                    status = one.verify() if stage == "verify" else one.stage(stage)
                    status.at = one.attempt.paths.cut if is_own else ""
                    self.stages.append(status)
                    self._of.append(one)

    @property
    def is_as_planned(self) -> bool:
        """Whether the config and the input are those of the attempt, as far as they decide results."""
        return all(one.is_as_planned for one in self.each)

    # ------------------------------------------------------------------ block by block
    def undone(self) -> Iterator[Data]:
        """The blocks and cells that a run would still do."""
        for status, one in zip(self.stages, self._of, strict=True):
            if status.stage != "verify":
                for block in one.blocks.undone(status.stage, {d["key"] for d in status.damage}):
                    yield block | ({"at": status.at} if status.at else {})

    def slowest(self, n: int) -> list[Data]:
        """The ``n`` blocks and cells that took longest."""
        found: list[Data] = []
        for one in self.each:
            of = [s for s, its in zip(self.stages, self._of, strict=True) if its is one]
            at = {"at": one.attempt.paths.cut} if one.attempt.paths.cut else {}
            found += [b | at for b in one.blocks.slowest([s.stage for s in of], n)]
        return sorted(found, key=lambda b: -b["seconds"])[:n] if len(self.each) > 1 else found

    def jobs(self) -> list[Data]:
        """The attempt's job arrays on a cluster, and those of them that aren't known to be over."""
        return [
            {
                "task": task,
                "job": job.job,
                "indexes": expression(job.indexes),
                "try": job.number,
                "memory_bytes": job.need.memory,
                "time_s": job.need.time_s,
                "over": job.is_over,
                "submitted": job.submitted,
            }
            for task, known in jobs_of_tasks(self.attempt.paths.root)
            for job in known.jobs
            if job.job
        ]

    # ------------------------------------------------------------------ all of it
    def data(self) -> Data:
        """What ``--json`` prints; times in unix seconds."""
        plan, held = self.attempt.plan, lease.holder_of(self.attempt.work.work)
        return {
            "run": plan.run,
            "attempt": plan.attempt,
            "directory": str(self.attempt.paths.root),
            "planned": plan.created,
            "partition": plan.partition,
            "overrides": dict(plan.overrides),
            "threshold": threshold_words.as_data(self.first.shown.threshold),
            "thresholds": list(plan.thresholds),
            "alive": self.alive,
            "holder": None
            if held is None
            else {
                "run": held[0].run,
                "host": held[0].host,
                "pid": held[0].pid,
                "since": held[0].created,
                "heartbeat_age_s": held[1],
            },
            "as_planned": self.is_as_planned,
            "changed": list(self.first.now.changes),
            "notes": list(self.first.now.notes),
            "checked": self.check,
            "jobs": self.jobs(),
            "stages": [s.data(time.time(), is_alive=self.alive) for s in self.stages],
        }
